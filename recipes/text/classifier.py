"""What recipes that classify texts have in common: options, data, exports, and reading with them.

data = load_data(config)                          # of a config that extends `TextConfig`
figures = export(model, folder, data, vocabulary, ids["test"])
read = Reader.load(folder, NAME, "model.tflite")  # read(text) -> label, probability, arrays
"""

import dataclasses

import numpy as np

from recipes.data import texts
from recipes.data.toy import reviews
from recipes.kit import exports, flags, run_folder
from recipes.kit.errors import cannot_load
from recipes.kit.flags import TrainConfig, option
from recipes.text import wordpiece

FILES = ("vocabulary.txt", "labels.txt")


@dataclasses.dataclass(frozen=True)
class TextConfig(TrainConfig):
    """The options of `train` that say where labelled texts are; a recipe's config extends it."""

    text_column: str = option("text", "column of the text, or several, such as title,description")
    label_column: str = option("label", "column of the label")
    validation_fraction: float = option(
        0.1, "share of the training texts to validate on, without a file for it", low=0.01, high=0.5
    )
    parity_texts: int = option(200, "test texts on which the exports are compared", low=1)


def how_to_use(command):
    """The words of a model card on how to use the files, after a command to copy."""
    return (
        f"    {command}\n\n"
        "`model.tflite` has two signatures: `text` takes raw text and needs tensorflow-text's "
        "operators; `ids` runs in any interpreter, with `vocabulary.txt` and `labels.txt` in the "
        "file itself (it is also a zip archive). `saved_model` takes raw text and loads after "
        "`import tensorflow_text`."
    )


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


def export(model, folder, data, vocabulary, ids, *, count, formats=None):
    """Exports a classifier of ids to forms that read raw text or ids, one text at a time.

    Args:
        model: Keras model from ids `(B, T)` to a dict with `probability` `(B, C)`.
        folder: Path.
        data: `recipes.data.texts.LabelledTexts`, whose test texts the forms are compared on.
        vocabulary: List of word pieces.
        ids: The test texts as ids.
        count: Integer, how many of them are used, at most.
        formats: The forms, as `ka.export_model` takes them; `None` for all of `exports.FORMS`.

    Returns:
        As `kit.exports.export`.
    """
    import tensorflow as tf

    import keras_attention as ka

    tokenizer = wordpiece.fast_tokenizer(vocabulary)
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
        try:
            vocabulary, labels = (
                (folder / name).read_text(encoding="utf-8").split("\n")[:-1] for name in FILES
            )
            tokenizer = wordpiece.fast_tokenizer(vocabulary)
        except (OSError, ValueError, RuntimeError) as error:
            raise cannot_load(path, error) from error
        run = exports.runner(path, "text", operators=wordpiece.operators())
        return cls(vocabulary, labels, tokenizer, run)

    def __call__(self, text):
        """The outputs for a text: its label, the label's probability, and a dict of arrays."""
        outputs = {name: x[0] for name, x in self.run(text=np.array([text.encode()])).items()}
        return outputs.pop("label").decode(), float(outputs["probability"].max()), outputs

    def words(self, text, weights):
        """Spans of the words of a text, and each word's sum of the weights of its pieces."""
        return wordpiece.word_weights(self.tokenizer, self.vocabulary, text, weights)
