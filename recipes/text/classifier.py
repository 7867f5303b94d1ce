"""What recipes that classify texts have in common: options, data, exports, and reading with them.

data = load_data(config)                          # of a config that extends `TextConfig`
compile_model(config, training, batches)
labels, probabilities = answers(training, test_batches)
figures = export(model, folder, data, vocabulary, ids["test"], count=config.parity_texts)
read = Reader.load(folder, NAME, "model.tflite")  # read(text) -> label, probability, arrays
predict(config, NAME)                             # of a `PredictConfig`: words shaded by weight
"""

import dataclasses
import json
from pathlib import Path

import numpy as np

from recipes.data import tables, texts
from recipes.data.toy import reviews
from recipes.kit import classes, explaining, exports, fitting, flags, run_folder
from recipes.kit.errors import UserError, cannot_load, writing
from recipes.kit.flags import TrainConfig, argument, option, size_dependent
from recipes.text import wordpiece

FILES = ("vocabulary.txt", "labels.txt")
FORMATS = ("text", "tsv", "jsonl")
ENCODERS = ("ngrams", "gru", "cnn", "transformer")
LEARNING_RATE, OF_FROZEN, OF_FINE_TUNING = 0.001, 0.003, 0.00005


@dataclasses.dataclass(frozen=True)
class TextConfig(TrainConfig):
    """The options of `train` that say where labelled texts are; a recipe's config extends it."""

    text_column: str = option("text", "column of the text, or several, such as title,description")
    label_column: str = option("label", "column of the label")
    validation_fraction: float = option(
        0.1, "share of the training texts to validate on, without a file for it", low=0.01, high=0.5
    )
    vocabulary_size: int | None = size_dependent(
        16_000, 4_000, "word pieces to learn, at most", below=15_000, low=100, high=100_000
    )
    baselines: bool = option(True, "train tf-idf and mean pooling too, to compare")
    title: str | None = option(
        None, "title of the model card: the task, such as Kinds of questions"
    )
    parity_texts: int = option(200, "test texts on which the exports are compared", low=1)
    text_signature: bool = option(True, exports.TEXT_SIGNATURE)
    explained: int = option(100, explaining.HELP, low=0)


@dataclasses.dataclass(frozen=True)
class EncoderConfig(TextConfig):
    """The same with the options that say what reads the texts."""

    encoder: str = option("ngrams", f"{', '.join(ENCODERS)}, or the folder of a pretrained encoder")
    fine_tune: bool = option(False, "train the pretrained encoder as well")
    units: int = option(64, "units of a GRU each way; other encoders have twice the size", low=4)
    learning_rate: float | None = option(
        None, "highest learning rate of Adam; none: 0.001, with a pretrained encoder 0.003, with "
        "--fine-tune 0.00005", low=1e-6, high=1.0,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What `predict` can be told."""

    folder: Path = argument("folder that train wrote")
    texts: tuple[str, ...] = argument("texts to read; none: the lines of standard input", nargs="*")
    file: Path | None = option(None, "file with a text per line, or a csv, tsv or jsonl table")
    text_column: str = option("text", "column, or several, of the text in a table")
    format: str = option(
        "text", "how answers are written: tsv and jsonl have all probabilities", choices=FORMATS
    )
    form: str = option("tflite", "which export to use", choices=tuple(exports.FORMS))
    html: Path | None = option(None, "also write a page with the shaded texts")


def how_to_use(config, command):
    """The words of a model card on how to use the files, after a command to copy."""
    return (
        f"    {command}\n\n"
        "`model.tflite` has two signatures: `text` takes raw text and needs tensorflow-text's "
        "operators; `ids` runs in any interpreter, with `vocabulary.txt` and `labels.txt` in the "
        "file itself (it is also a zip archive). `saved_model` takes raw text and loads after "
        "`import tensorflow_text`."
    ) + exports.OF_IDS_ALONE * (not config.text_signature)


def words_of_encoder(config, data):
    """The words of a model card on a model with an encoder: what it does, and its limits."""
    names = {"gru": "a bidirectional GRU", "cnn": "a convolution", "transformer": "self-attention"}
    folder = f"a pretrained transformer, {Path(config.encoder).name}, whose licence holds here too"
    encoder = names.get(config.encoder, folder)
    long = (
        " Cut very long texts: a TFLite file takes memory that grows with the square of the length."
        if config.encoder == "transformer"
        else ""
    )
    return {
        "What it does": (
            f"Tells which of {', '.join(data.labels)} a text is, how sure it is, and how much each "
            "word piece counted (weights that sum to one). Each piece was read together with those "
            f"around it, by {encoder}."
        ),
        "Limits": (
            "A weight tells where the model looked, not why: what a piece stands for has been "
            "mixed with what surrounds it. It learned from one kind of text and is worse on "
            f"others. It must not decide about people.{long}"
        ),
    }


def load_data(config, toy=reviews, edit=None):
    """The labelled texts of `--data`.

    Args:
        config: A `TextConfig`.
        toy: The module of the generated texts.
        edit: Function from each text to what is read in its place, or `None`.
    """
    data = flags.call(texts.TextReader, config, toy=toy).load(config.data)
    if edit is None:
        return data
    edited = {
        part: dataclasses.replace(split, texts=[edit(text) for text in split.texts])
        for part, split in data.splits.items()
    }
    return dataclasses.replace(data, **edited)


def checked(config, learning_rate=LEARNING_RATE):
    """The config with its step size, or an error for what does not go together.

    Args:
        config: An `EncoderConfig`.
        learning_rate: Float, that of the n-grams.
    """
    is_folder = config.encoder not in ENCODERS
    if is_folder and not Path(config.encoder).is_dir():
        raise UserError(
            f"--encoder must be {', '.join(ENCODERS)} or a folder. Received: {config.encoder}"
        )
    if config.fine_tune and not is_folder:
        raise UserError("--fine-tune needs a pretrained encoder: --encoder FOLDER")
    if config.encoder == "gru" and getattr(config, "full_int8", False):
        raise UserError("--full-int8 cannot hold the loop of --encoder gru; tflite_int8 can")
    if is_folder:
        learning_rate = OF_FINE_TUNING if config.fine_tune else OF_FROZEN
    elif config.encoder != "ngrams":
        learning_rate = LEARNING_RATE
    return dataclasses.replace(config, learning_rate=config.learning_rate or learning_rate)


def compile_model(config, model, batches):
    """Cross-entropy and accuracy, and Adam with the moving average of the weights that is kept.

    Args:
        config: A `TextConfig`.
        model: The Keras model to train.
        batches: The batches of an epoch.
    """
    import keras

    momentum = fitting.momentum(config.averaging, batches)
    is_fine_tuned = getattr(config, "fine_tune", False)
    adam = keras.optimizers.AdamW if is_fine_tuned else keras.optimizers.Adam
    model.compile(
        adam(config.learning_rate, use_ema=True, ema_momentum=momentum),
        keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )


def answers(model, batches):
    """The labels `(N,)` of batches, and the probabilities `(N, C)` that a model gives for them."""
    labels = np.concatenate([batches[index][1] for index in range(len(batches))])
    return labels, model.predict(batches, verbose=0)


def title_of(config, data):
    """The title of the model card."""
    return config.title or f"Text classification: {Path(data.name).name}"


def described(data, labels, probabilities):
    """Counts of texts and scores of each class, for `metrics.json` and for the model card.

    Args:
        data: `recipes.data.texts.LabelledTexts`.
        labels, probabilities: As `answers` returns them for the test split.

    Returns:
        A dict of details, and a section of the card as a dict.
    """
    counted = {part: split.labels for part, split in data.splits.items()}
    rows = classes.by_class(data.labels, counted, labels, probabilities.argmax(1))
    words = "How many texts there are of each class, and how well it is told in the test split:"
    return {"classes": rows}, {"Classes": f"{words}\n\n{classes.table(rows)}"}


def export(
    model, folder, data, vocabulary, ids, *, count, text_signature=True, formats=None
):  # fmt: skip
    """Exports a classifier of ids to forms that read raw text or ids, one text at a time.

    Args:
        model: Keras model from ids `(B, T)` to a dict with `probability` `(B, C)`.
        folder: Path.
        data: `recipes.data.texts.LabelledTexts`, whose test texts the forms are compared on.
        vocabulary: List of word pieces.
        ids: The test texts as ids.
        count: Integer, how many of them are used, at most.
        text_signature: Whether TFLite files read raw text, too.
        formats: The forms, as `ka.export_model` takes them; `None` for all of `exports.FORMS`.

    Returns:
        As `kit.exports.export`.
    """
    import tensorflow as tf

    import keras_attention as ka

    tokenizer = wordpiece.tokenizer_of(vocabulary)
    names, pieces = tf.constant(data.labels), tf.constant(vocabulary)

    def read_ids(model, ids):
        # An empty text gets one step of padding: TFLite's kernels do not all take none.
        missing = tf.maximum(1 - tf.shape(ids)[1], 0)
        ids = tf.pad(ids, [[0, 0], [0, missing]])
        return {"ids": ids, **model(ids, training=False)}

    def read_text(model, text):
        outputs = read_ids(model, tokenizer.tokenize(text).to_tensor())
        # `argmax` of floats has no TFLite operator.
        best = tf.math.top_k(outputs["probability"], 1).indices[:, 0]
        return {
            "label": tf.gather(names, best),
            "pieces": tf.gather(pieces, outputs["ids"]),
            **outputs,
        }

    # One text at a time, as a phone does: long ones then cost no padding.
    text_rows = tf.data.Dataset.from_tensor_slices(data.test.texts[:count]).batch(1)
    return exports.export(
        model,
        folder,
        formats=list(formats or exports.FORMS),
        signatures=[
            ka.Signature(
                "text", read_text, {"text": ((None,), "string")}, text_rows,
                resources=[tokenizer], text=True, decision="probability",
            ),
            ka.Signature(
                "ids", read_ids, {"ids": ((None, None), "int32")}, exports.one_by_one(ids[:count]),
                decision="probability",
            ),
        ],
        files={"vocabulary.txt": vocabulary, "labels.txt": data.labels},
        text_signature=text_signature,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Reader:
    """An exported classifier of texts.

    Attributes:
        vocabulary, labels: Lists of strings.
        tokenizer: What `wordpiece.fast_tokenizer` returns.
        run: Function of `text`, an array of one text, to a dict of arrays.
    """

    vocabulary: list
    labels: list
    tokenizer: object
    run: object

    @classmethod
    def load(cls, folder, recipe, file):
        """Loads the form in `file` of a run folder of a recipe.

        Raises:
            UserError: If there is no such run or a part of it cannot be read.
        """
        run_folder.find_run(folder, recipe=recipe, files=[file, *FILES])
        path = folder / file
        vocabulary, labels = (run_folder.read_lines(folder / name) for name in FILES)
        try:
            tokenizer = wordpiece.tokenizer_of(vocabulary)
        except (ValueError, RuntimeError) as error:
            raise cannot_load(folder / FILES[0], error) from error
        run = wordpiece.runner(path, tokenizer, ("text", "ids"), {"text": "ids"})
        return cls(vocabulary, labels, tokenizer, run)

    def __call__(self, text):
        """The outputs for a text: its label, the label's probability, and a dict of arrays."""
        outputs = {name: x[0] for name, x in self.run(text=np.array([text.encode()])).items()}
        label = self.labels[int(outputs["probability"].argmax())]
        return label, float(outputs["probability"].max()), outputs

    def words(self, text, weights):
        """Spans of the words of a text, and each word's sum of the weights of its pieces."""
        return wordpiece.word_weights(self.tokenizer, self.vocabulary, text, weights)


def predict(config, recipe, forms=exports.FORMS):
    """Prints the label of each text with its words shaded by their weights, and writes the page.

    Args:
        config: A `PredictConfig`.
        recipe: String, the recipe's name.
        forms: Dict, form to the name of its file.

    Raises:
        UserError: If there is no such model, no text, or the page cannot be written.
    """
    from keras_attention.explain.highlight import shade

    read = Reader.load(config.folder, recipe, forms[config.form])
    with Answers(config, read.labels) as answers:
        for text in given_texts(config, "texts"):
            label, probability, outputs = read(text)
            words = read.words(text, outputs["weights"])
            heading = f"{label} {probability:.3f}"
            answers.write(
                outputs["probability"],
                shown=f"{heading}  {shade(text, *words)}",
                page=(heading, text, *words),
                words=weights_of(text, *words),
            )


def given_texts(config, what, *, whole_file=False):
    """What `predict` is to read: arguments, a table's rows, lines, or a whole file.

    Args:
        config: A `PredictConfig`.
        what, whole_file: As for `flags.given_or_read`.

    Raises:
        UserError: If there is none, or it cannot be read.
    """
    if config.texts or not config.file or not tables.is_table(config.file):
        return flags.given_or_read(config.texts, config.file, what, whole_file=whole_file)
    columns = dict.fromkeys(texts.names_of(config.text_column), "text")
    return [texts.joined(parts) for _, *parts in tables.read(config.file, columns)]


def weights_of(text, spans, weights):
    """Pairs of the text of each span and its weight."""
    return [
        (text[start:end], round(float(weight), 6))
        for (start, end), weight in zip(spans, weights, strict=True)
    ]


class Answers:
    """Prints an answer for each text in the format asked for, and writes the page at the end.

    Args:
        config: A `PredictConfig`.
        labels: List of strings.
    """

    def __init__(self, config, labels):
        self.config, self.labels = config, labels
        self.pages = []

    def __enter__(self):
        if self.config.format == "tsv":
            print("label", "probability", *(_one_field(name) for name in self.labels), sep="\t")
        return self

    def write(self, probabilities, *, shown, page, **weights):
        """Prints the answer to a text.

        Args:
            probabilities: Float array, one per label.
            shown: String, the answer as `--format text` writes it.
            page: Tuple, as `highlight.to_html` takes it.
            weights: Lists of what counted and how much, for `--format jsonl`.
        """
        best = int(np.argmax(probabilities))
        rounded = [round(float(probability), 6) for probability in probabilities]
        if self.config.format == "tsv":
            shown = "\t".join(map(str, [_one_field(self.labels[best]), rounded[best], *rounded]))
        elif self.config.format == "jsonl":
            answer = {"label": self.labels[best], "probability": rounded[best]}
            answer["probabilities"] = dict(zip(self.labels, rounded, strict=True))
            shown = json.dumps({**answer, **weights}, ensure_ascii=False)
        print(shown, flush=True)
        self.pages.append(page)

    def __exit__(self, kind, error, traceback):
        if kind is None and self.config.html:
            from keras_attention.explain.highlight import to_html

            with writing("--html", self.config.html):
                page = to_html(self.config.folder.name, self.pages)
                self.config.html.write_text(page, encoding="utf-8")


def _one_field(name):
    return " ".join(name.split("\t"))
