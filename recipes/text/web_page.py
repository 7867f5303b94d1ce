"""Pages of classifiers of texts: a recipe's `web` in one call.

write(config, NAME)                # of a `WebConfig`; a model of `ids` with `weights`
write_documents(config, NAME)      # of a `DocumentsWebConfig`; with `sentences` and `words`
"""

import dataclasses

import numpy as np

from recipes.kit import run_folder, web
from recipes.kit.flags import argument, option
from recipes.text import classifier, sentences, wordpiece

_SAMPLES = 24  # on which the file is compared with the model, beside the examples
# Of texts made by chance no label is sure: rounded weights change some.
_ROUNDED = {form: {"agreement": 0.9} for form in ("tflite_float16", "tflite_int8")}
_OUTPUTS = "probability", "weights", "sentences", "words"


@dataclasses.dataclass(frozen=True)
class WebConfig(web.WebConfig):
    """What `web` can be told."""

    texts: tuple[str, ...] = argument("examples that the page offers", nargs="*")
    length: int = option(256, "word pieces of a text that the page reads", low=8, high=10_000)


@dataclasses.dataclass(frozen=True)
class DocumentsWebConfig(WebConfig):
    """What `web` can be told."""

    length: int = option(30, "sentences of a document that the page reads", low=1, high=1000)


def write(config, recipe):
    """Writes a page that shades the words of a text.

    Args:
        config: A `WebConfig`.
        recipe: String, the recipe's name.
    """
    with web.new_page(config, recipe, classifier.FILES) as page:
        vocabulary, labels = _words(config.folder)
        rng = np.random.default_rng(0)
        samples = np.zeros((_SAMPLES, config.length), "int32")
        for row, count in zip(samples, _counts(config.length), strict=True):
            row[:count] = rng.integers(1, len(vocabulary), count)
        for row, text in zip(samples, config.texts, strict=False):
            _fill(row, _encode(vocabulary, text)[: config.length])
        _export(page, _load_model(page), samples)
        _write(page, vocabulary, labels, limit=f"this page reads {config.length} word pieces")


def write_documents(config, recipe):
    """Writes a page that shades the sentences and the words of a document.

    The page splits the sentences, for a model does not split into a fixed number of them.

    Args:
        config: A `DocumentsWebConfig`.
        recipe: String, the recipe's name.
    """
    with web.new_page(config, recipe, classifier.FILES) as page:
        vocabulary, labels = _words(config.folder)
        model = _load_model(page)
        split = model.get_layer("split")
        columns, most = split.output.shape[-1], split.max_words
        kinds = sentences.kinds_of(vocabulary)
        rng = np.random.default_rng(0)
        samples = np.zeros((_SAMPLES, config.length, columns), "int32")
        for rows, count in zip(samples, _counts(config.length), strict=True):
            for row, words in zip(rows, rng.integers(1, most + 1, count), strict=False):
                row[:words] = rng.integers(1, len(vocabulary), words)
        for rows, text in zip(samples, config.texts, strict=False):
            ids = _encode(vocabulary, sentences.mark_paragraphs(text))
            rows[:] = 0
            for row, sentence in zip(rows, sentences.split(ids, kinds, most), strict=False):
                _fill(row, sentence)
        _export(page, _behind(split, model), samples)
        _write(
            page, vocabulary, labels,
            limit=f"this page reads {config.length} sentences",
            words=most, columns=columns, kinds="".join(map(str, kinds)),
        )  # fmt: skip


def _words(folder):
    """The lines of the vocabulary and of the labels."""
    return [run_folder.read_lines(folder / name) for name in classifier.FILES]


def _load_model(page):
    # Here, as it takes seconds, and what is wrong with the folders shows before them.
    from recipes.parts import encoders, ngrams  # noqa: F401  (the layers of the model)

    return page.load_model()


def _behind(layer, model):
    """The part of a model that comes after a layer."""
    import keras

    return keras.Model(layer.output, model.output)


def _fill(row, ids):
    """Puts ids at the start of a row, and padding behind them."""
    row[:] = 0
    row[: len(ids)] = ids


def _counts(most):
    """How long the samples are: from nothing to what there can be at most."""
    return np.linspace(0, most, _SAMPLES).astype(int)


def _encode(vocabulary, text):
    index = {piece: number for number, piece in enumerate(vocabulary)}
    return wordpiece.encode(index, text, cased=wordpiece.is_cased(vocabulary))


def _export(page, model, samples):
    import keras_attention as ka

    def read(model, ids):
        outputs = model(ids, training=False)
        return {name: outputs[name] for name in _OUTPUTS if name in outputs}

    shape = (1, *samples.shape[1:])
    signature = ka.Signature(
        "ids", read, {"ids": (shape, "int32")}, samples, decision="probability"
    )
    page.export(model, [signature], bounds=_ROUNDED)


def _write(page, vocabulary, labels, **settings):
    page.write(
        "texts",
        scripts=["sentences.js", "shading.js", "tokenizer.js"],
        files={
            "vocabulary.txt": vocabulary,
            "labels.txt": labels,
            "characters.json": wordpiece.characters(cased=wordpiece.is_cased(vocabulary)),
        },
        settings={"length": page.config.length, "examples": page.config.texts, **settings},
    )
