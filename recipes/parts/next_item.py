"""Layers of the recommendation model that only a catalogue of items needs."""

import keras
from keras import ops


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
