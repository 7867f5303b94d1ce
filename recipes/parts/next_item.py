"""What models of the next item share: layers over a catalogue of items, scores and losses."""

import keras
import numpy as np
from keras import ops

import keras_attention as ka
from recipes.data.batches import padded
from recipes.kit import exports


@keras.saving.register_keras_serializable(package="recipes")
class AllItems(keras.layers.Layer):
    """The numbers of all items, as candidates for each row of a batch.

    Args:
        num_items: Integer V.

    Call arguments:
        inputs: Any tensor `(B, ...)`.

    Returns:
        int32 `(B, V)`, 1 to V in each row.
    """

    def __init__(self, num_items, **kwargs):
        kwargs["dtype"] = "float32"  # integers pass through bfloat16 policies unharmed
        super().__init__(**kwargs)
        self.num_items = num_items

    def call(self, inputs):
        items = ops.expand_dims(ops.arange(1, self.num_items + 1, dtype="int32"), 0)
        return ops.broadcast_to(items, (ops.shape(inputs)[0], self.num_items))

    def compute_output_spec(self, inputs):
        return keras.KerasTensor((inputs.shape[0], self.num_items), "int32")

    def get_config(self):
        return {**super().get_config(), "num_items": self.num_items}


@keras.saving.register_keras_serializable(package="recipes")
class TopUnseen(keras.layers.Layer):
    """The best items that are not in the history.

    Args:
        count: Integer K.

    Call arguments:
        logits: Float tensor `(B, V)`, a score for each of the items 1 to V.
        history: Integer tensor `(B, T)` of items, 0 where padded.

    Returns:
        Items, int32 `(B, K)`, the best first, and their logits `(B, K)`. Only where fewer than K
        items are left do items of the history follow, with logits of -1e9.
    """

    def __init__(self, count, **kwargs):
        kwargs["dtype"] = "float32"  # 16 bits would make many scores equal
        super().__init__(**kwargs)
        self.count = count

    def call(self, logits, history):
        rows = ops.cumsum(ops.ones_like(history[:, :1]), axis=0) - 1  # (B, 1)
        places = ops.stack([ops.broadcast_to(rows, ops.shape(history)), history], axis=-1)
        times = ops.scatter(  # (B, V + 1): how often each item is in the history
            ops.reshape(places, (-1, 2)),
            ops.ones_like(ops.reshape(history, (-1,))),
            (ops.shape(logits)[0], logits.shape[1] + 1),
        )
        logits = ops.where(times[:, 1:] > 0, -1e9, logits)
        best, items = ops.top_k(logits, self.count)
        return items + 1, best

    def compute_output_spec(self, logits, history):
        shape = (logits.shape[0], self.count)
        return keras.KerasTensor(shape, "int32"), keras.KerasTensor(shape, logits.dtype)

    def get_config(self):
        return {**super().get_config(), "count": self.count}


def normal(stddev):
    """An initializer."""
    return keras.initializers.RandomNormal(stddev=stddev)


def first_position(history):
    """Where the first step stands so that the first item, after the padding, is at position 0."""
    return -ops.sum(ops.cast(ops.equal(history, 0), "int32"), axis=1)  # (B,)


def dot(x, y):
    """The dot product over the last axis, in float32."""
    return ops.sum(ops.cast(x, "float32") * ops.cast(y, "float32"), axis=-1)


def log_odds(logit, other_logits):
    """Log-likelihood that the target was taken and the others were not."""
    return ops.log_sigmoid(logit) + ops.sum(ops.log_sigmoid(-other_logits), axis=-1)


def last_step(maps):
    """How much the last step looked at each past item `(B, T)`: the mean of heads and blocks."""
    of_block = [ops.mean(ops.cast(weights, "float32")[:, :, -1], axis=1) for weights in maps]
    return sum(of_block) / len(of_block)


def best_unseen(logits, history, *, loss):
    """The ten best items that are not in the history, and the probability of each.

    Args:
        logits: Float tensor `(B, V)`, of the items 1 to V.
        history: Integer tensor `(B, T)` of items, 0 where padded.
        loss: The loss of the training: `"softmax"` for probabilities among all items, `"binary"`
            for those of each item by itself.

    Returns:
        Items, int32 `(B, 10)`, and probabilities `(B, 10)`.
    """
    items, best = TopUnseen(min(10, logits.shape[-1]), name="top")(logits, history)
    if loss == "binary":
        return items, ops.sigmoid(best)
    return items, ops.exp(best - ops.logsumexp(logits, axis=-1, keepdims=True))


def scorer(ranking_model, max_history):
    """The model as `baselines.ranking` wants it: from a list of histories to scores."""
    import tensorflow as tf

    # One function for all lengths; validation goes through it after each epoch.
    function = tf.function(
        lambda history: ranking_model(history, training=False),
        input_signature=[tf.TensorSpec((None, None), tf.int32)],
    )
    return lambda histories: function(
        padded([history[-max_history:] for history in histories])
    ).numpy()


def export(model, folder, histories, catalogue):
    """Writes all forms of a recommender.

    Args:
        model: Keras model from a history `(B, T)` to a dict with `items` `(B, 10)`.
        folder: Path.
        histories: List of int32 arrays, on which the forms are compared.
        catalogue: `recipes.parts.catalogue.Catalogue`.

    Returns:
        As `kit.exports.export`.
    """

    def recommend(model, history):
        return model(history, training=False)

    def same_items(outputs):
        """The best items of each row as one value, whatever their order."""
        return np.array([" ".join(map(str, sorted(row))) for row in outputs["items"]])

    # One user at a time, as a phone does: no padding.
    rows = exports.one_by_one(histories)
    signature = ka.Signature(
        "recommend", recommend, {"history": ((None, None), "int32")}, rows, decision=same_items
    )
    # Two items with nearly the same score may change places: what counts is which ten they are.
    agreements = {"saved_model": 0.98, "tflite": 0.98, "tflite_float16": 0.9, "tflite_int8": None}
    return exports.export(
        model,
        folder,
        formats=list(exports.FORMS),
        signatures=[signature],
        bounds={
            form: {"difference": None, "agreement": agreement}
            for form, agreement in agreements.items()
        },
        files={"items.txt": catalogue.lines()},
    )
