"""Data sets of TensorFlow Datasets, with one clear line for everything wrong."""

import difflib
import re
import threading
import urllib.error
import urllib.request

from recipes.data import tables
from recipes.kit.errors import UserError

PREFIX = "tfds:"


def open_builder(name, data_dir=None):
    """Returns the builder of a data set, which knows its features, without any download.

    Args:
        name: String `NAME`, `NAME/CONFIG`, either with `:VERSION`.
        data_dir: Path or None, where TensorFlow Datasets keeps its data.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(f"{PREFIX}{name} needs the package tensorflow-datasets: {error}") from None
    from absl import logging

    logging.set_verbosity(logging.ERROR)  # it warns of folders that it will only create
    # Other forms (`huggingface:...`, keyword arguments) would go to the network first.
    if not re.fullmatch(r"\w+(/[\w.-]+)?(:[\d.*]+)?", name):
        raise UserError(f"Expected {PREFIX}NAME or {PREFIX}NAME/CONFIG. Received: {PREFIX}{name}")
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        known = tfds.list_builders(with_community_datasets=False)
        close = difflib.get_close_matches(re.split("[/:]", name)[0], known)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise UserError(f"TensorFlow Datasets has no data set {name}.{hint}") from None
    except (ValueError, AssertionError) as error:
        base, _, config = name.partition(":")[0].partition("/")
        configs = list(tfds.builder_cls(base).builder_configs)
        if config and config not in configs:
            raise UserError(
                f"The data set {base} has no configuration {config}. "
                f"It has: {', '.join(configs) or 'none'}"
            ) from None
        # No such version: the sentence after TFDS' account of its arguments says which there are.
        reason = str(error).rpartition('}": ')[2]
        raise UserError(f"TensorFlow Datasets cannot load {name}: {reason}") from None


def load(name, builder, data_dir=None, **options):
    """Returns the splits of a builder's data set, a dict of `tf.data.Dataset`.

    Downloads them if need be. Further options, such as `decoders`, go to `tfds.load`.
    """
    import tensorflow_datasets as tfds

    download = not builder.is_prepared()
    if download and not is_reachable("https://storage.googleapis.com/tfds-data"):
        # tfds.load would try again and again for minutes.
        raise UserError(
            f"The data set {name} is not in {builder.data_dir}, and the network cannot be reached "
            f"to download it. Prepare it on a machine with a network: tfds build {name}"
        )
    try:
        return tfds.load(name, data_dir=data_dir, download=download, **options)
    except Exception as error:
        if not download:
            raise
        raise UserError(f"The data set {name} could not be downloaded: {error}") from error


def about(builder):
    """Returns `description` and `licence` of a data set."""
    return {
        "description": " ".join((builder.info.description or builder.info.full_name).split()),
        "licence": builder.info.redistribution_info.license
        or f"See the data set's page: {builder.info.homepage}",
    }


def official_splits(datasets):
    """Returns a dict from `"train"`, `"validation"` and `"test"` to what the data set calls it."""
    official = {
        part: next((name for name in (*names, part) if name in datasets), None)
        for part, names in tables.SPLIT_NAMES.items()
    }
    return {part: name for part, name in official.items() if name is not None}


def read_columns(dataset, features):
    """Returns a list of values for each of the features; texts and class labels are strings.

    Args:
        dataset: A `tf.data.Dataset` of dicts.
        features: Dict from names to features of TensorFlow Datasets.

    Returns:
        List of lists; a missing label, which data sets give as -1, is `None`, and the value of a
        sequence is a list.
    """
    from tensorflow_datasets import as_numpy

    columns = [[] for _ in features]
    for row in as_numpy(dataset.map(lambda row: tuple(row[name] for name in features))):
        for column, feature, value in zip(columns, features.values(), row, strict=True):
            column.append(_plain(value, feature))
    return columns


def _plain(value, feature):
    if hasattr(feature, "feature"):  # a sequence
        return [_plain(one, feature.feature) for one in value]
    if names := getattr(feature, "names", None):  # a class label
        return names[value] if value >= 0 else None
    return text(value) if isinstance(value, bytes) else value


def text(value):
    """The string of a text's bytes."""
    return value.decode("utf-8", errors="replace")


def of_kind(features, kind):
    """Returns the names of the features of a kind, e.g. `"Text"`."""
    from tensorflow_datasets import features as kinds

    return [name for name, feature in features.items() if isinstance(feature, getattr(kinds, kind))]


def require_features(name, features, wanted):
    """Returns a dict of the wanted features, which are those that the data set has to have."""
    if missing := [key for key in wanted if key not in features]:
        raise UserError(
            f"Expected the features {', '.join(wanted)} in {name}. It has no {missing[0]} among "
            f"{', '.join(features)}"
        )
    return {key: features[key] for key in wanted}


def find_label(name, features, wanted):
    """Returns the name of the class label to read: the wanted one, or the only one."""
    labels = of_kind(features, "ClassLabel")
    if wanted in labels:
        return wanted
    if len(labels) != 1:
        raise UserError(
            f"Expected a label column named {wanted!r} or a single one in {name}. "
            f"Found: {', '.join(labels) or 'none'} among {', '.join(features)}"
        )
    return labels[0]


def find_texts(name, features, wanted):
    """Returns the names of the text features to read: those wanted, or all there are.

    Args:
        name: String, the data set's name.
        features: Dict of its features.
        wanted: List of names.
    """
    texts = of_kind(features, "Text")
    if set(wanted) <= set(texts):
        return wanted
    if not texts or len(wanted) > 1:
        raise UserError(
            f"Expected text columns named {', '.join(wanted)} in {name}. "
            f"Found: {', '.join(texts) or 'none'} among {', '.join(features)}"
        )
    return texts


def is_reachable(url, seconds=5):
    """Returns whether a server answers, whatever it answers, within `seconds`.

    >>> is_reachable("http://localhost:9")     # nobody listens on the discard port
    False
    """
    answers = []

    def ask():
        try:
            urllib.request.urlopen(url, timeout=seconds).close()
        except urllib.error.HTTPError:
            answers.append(True)
        except OSError:
            answers.append(False)
        else:
            answers.append(True)

    # In a thread of its own: the look-up of the host's name knows no timeout.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers == [True]
