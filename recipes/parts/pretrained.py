"""A pretrained transformer that encodes word pieces, from a folder of KerasHub or Hugging Face.

    encoder, vocabulary = load("all-MiniLM-L6-v2")
    features = encoder(ids)          # (B, T, D) of ids (B, T), which have no start and no end piece

Frozen, the features of a text are always the same: `cached` computes them once, into a file.
"""

import tempfile
from pathlib import Path

import keras
import numpy as np
from keras import ops

from recipes.data.batches import PaddedBatches, pad
from recipes.kit.errors import UserError
from recipes.text import wordpiece

INSTALL = 'pip install "keras-attention-layers[pretrained]"'


def load(folder):
    """The encoder in a folder, and its word pieces.

    Args:
        folder: Path of a preset of KerasHub, or of a folder of Hugging Face that
            `keras_hub.models.Backbone.from_preset` reads, of a model with word pieces: BERT,
            DistilBERT, ELECTRA and the like.

    Returns:
        `PretrainedEncoder`, and a list of strings.

    Raises:
        UserError: If KerasHub is missing, the folder cannot be read or has no word pieces.
    """
    keras_hub = _keras_hub()
    folder = str(Path(folder).resolve())
    try:
        tokenizer = keras_hub.tokenizers.Tokenizer.from_preset(folder)
        backbone = keras_hub.models.Backbone.from_preset(folder)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"Cannot read the encoder in --encoder {folder}: expected a preset of KerasHub or a "
            f"folder of Hugging Face. Received: {type(error).__name__}: {reason}"
        ) from error
    if not isinstance(tokenizer, keras_hub.tokenizers.WordPieceTokenizer):
        raise UserError(
            "--encoder needs a model with word pieces, such as BERT, DistilBERT or ELECTRA. "
            f"Received: {folder} with {type(tokenizer).__name__}"
        )
    vocabulary = list(tokenizer.get_vocabulary())
    if vocabulary[:1] != [wordpiece.PADDING] or wordpiece.UNKNOWN not in vocabulary:
        raise UserError(
            f"--encoder needs {wordpiece.PADDING} as its first word piece and {wordpiece.UNKNOWN} "
            f"among the others. Received: {folder} with {', '.join(vocabulary[:3])}, ..."
        )
    encoder = PretrainedEncoder(
        backbone, tokenizer.cls_token_id, tokenizer.sep_token_id, name="pretrained"
    )
    return encoder, vocabulary


def _keras_hub():
    try:
        import keras_hub
    except ImportError as error:
        raise UserError(f"A pretrained encoder needs KerasHub: {INSTALL}") from error
    return keras_hub


@keras.saving.register_keras_serializable(package="recipes")
class PretrainedEncoder(keras.layers.Layer):
    """Features of word pieces from the last layer of a pretrained transformer.

    Its start piece comes before each text and its end piece behind; what they give is left out.

    Args:
        backbone: A `keras_hub.models.Backbone` of BERT's kind.
        start_id, end_id: Integers, the pieces around a text, such as BERT's `[CLS]` and `[SEP]`.

    Call arguments:
        ids: int32 `(..., T)`, 0 where padded behind, with T of at most `limit`.

    Returns:
        Float `(..., T, D)`, zeros for padding.
    """

    def __init__(self, backbone, start_id, end_id, **kwargs):
        super().__init__(**kwargs)
        _keras_hub()  # whose classes a saved backbone is made of
        if isinstance(backbone, dict):
            backbone = keras.saving.deserialize_keras_object(backbone)
        self.backbone, self.start_id, self.end_id = backbone, start_id, end_id
        self.supports_masking = True
        longest = getattr(backbone, "max_sequence_length", None) or 512
        self.limit = longest - 2

    def fine_tune(self, is_trained=True):
        """Makes the backbone trainable or frozen, but for what its features do not depend on."""
        self.trainable = is_trained
        for layer in self.backbone.layers:
            if layer.name == "pooled_dense":  # BERT's, for the output that is not used here
                layer.trainable = False

    def build(self, ids_shape):
        self.built = True  # the backbone was built when it was made

    def call(self, ids, training=None):
        training = training and self.trainable  # frozen, it has no dropout either
        ids = ops.cast(ids, "int32")
        shape, length = ops.shape(ids), ops.shape(ids)[-1]
        ids = ops.reshape(ids, (-1, length))
        one = ops.ones_like(ids[:, :1])
        places = ops.expand_dims(ops.arange(length + 2, dtype="int32"), 0)
        counts = ops.sum(ops.cast(ids > 0, "int32"), axis=1, keepdims=True)
        tokens = ops.concatenate([one * self.start_id, ids, one * 0], axis=1)
        tokens = ops.where(ops.equal(places, counts + 1), self.end_id, tokens)
        given = {
            "token_ids": tokens,
            "padding_mask": ops.cast(places <= counts + 1, "int32"),
            "segment_ids": ops.zeros_like(tokens),
        }
        wanted = [tensor.name for tensor in self.backbone.inputs]
        outputs = self.backbone({name: given[name] for name in wanted}, training=training)
        x = _of_pieces(outputs)
        x = x[:, 1:-1] * ops.cast(ops.expand_dims(ids > 0, -1), x.dtype)
        return ops.reshape(x, (*shape, x.shape[-1]))

    def compute_mask(self, ids, mask=None):
        return ops.not_equal(ids, 0)

    def compute_output_spec(self, ids, training=None):
        return keras.KerasTensor((*ids.shape, self.size), self.compute_dtype)

    @property
    def size(self):
        """Integer D, the number of features."""
        return _of_pieces(self.backbone.output).shape[-1]

    def get_config(self):
        backbone = keras.saving.serialize_keras_object(self.backbone)
        return {
            **super().get_config(),
            "backbone": backbone,
            "start_id": self.start_id,
            "end_id": self.end_id,
        }


def _of_pieces(output):
    """What a backbone gives of each piece: BERT gives one vector for the whole text beside it."""
    return output["sequence_output"] if isinstance(output, dict) else output


def cached(encoder, ids, batch_steps=8_000):
    """Features of texts in a file of their own, which goes with the array.

    Args:
        encoder: `PretrainedEncoder`.
        ids: List of int32 arrays, the ids of each text.
        batch_steps: Integer, word pieces computed at a time, about.

    Returns:
        List of float16 arrays `(T, D)`, which lie on the disk and not in memory.
    """
    ends = np.cumsum([len(text) for text in ids])
    with tempfile.TemporaryFile() as file:  # the array holds it open
        features = np.memmap(file, "float16", "w+", shape=(max(1, ends[-1]), encoder.size))
    order = np.argsort([len(text) for text in ids], kind="stable")
    model = keras.Sequential([keras.Input((None,), dtype="int32"), encoder])
    while len(order):
        longest = max(1, len(ids[order[-1]]))
        rows, order = np.split(order, [-max(1, batch_steps // longest)])[::-1]
        computed = model.predict_on_batch(pad([ids[row] for row in rows], longest))
        for row, x in zip(rows, computed, strict=True):
            length = len(ids[row])
            features[ends[row] - length : ends[row]] = x[:length]
    return np.split(features, ends[:-1])


class FeatureBatches(PaddedBatches):
    """Texts with features that were computed before: `({"ids", "features": (B, T, D)}, labels)`.

    Args:
        texts, labels, batch_size, **options: As for `PaddedBatches`.
        features: List of arrays `(T, D)`, one a text.
    """

    def __init__(self, texts, labels, batch_size, *, features, **options):
        self._features = features
        super().__init__(texts, labels, batch_size, **options)

    def _arrays(self, rows, width):
        ids = pad([self._texts[row] for row in rows], width)
        features = np.zeros((*ids.shape, self._features[0].shape[-1]), "float32")
        for x, row in zip(features, rows, strict=True):
            x[: len(self._features[row])] = self._features[row]
        return {"ids": ids, "features": features}, self._labels[rows]
