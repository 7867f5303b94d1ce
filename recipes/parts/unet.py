"""Parts of a U-Net: its blocks, the loss of its masks, and what keeps its gates shut."""

import keras
from keras import layers, ops


def block(x, filters, name):
    """Two convolutions, each with batch normalization."""
    for number in (1, 2):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv_{number}")(
            x
        )
        # Epochs are short: statistics follow soon.
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm_{number}")(x)
        x = layers.ReLU(name=f"{name}_relu_{number}")(x)
    return x


def enlarged(x, filters, name):
    """The features below, with fewer channels and twice the rows and columns."""
    x = layers.Conv2D(filters, 1, name=f"{name}_conv")(x)
    return layers.UpSampling2D(2, name=name)(x)


@keras.saving.register_keras_serializable(package="recipes")
class GatePenalty(layers.Layer):
    """Adds to the loss how far the gates of a U-Net stand open, and passes the logits on.

        loss = weight mean over gates of mean(alpha)

    A gate that is not needed anywhere then shuts, so what is open tells where the finer features
    are used.

    Args:
        weight: Number of at least 0.
    """

    def __init__(self, weight, **kwargs):
        super().__init__(**kwargs)
        self.weight = weight

    def call(self, logits, gates):
        means = [ops.mean(ops.cast(gate, "float32")) for gate in gates]
        self.add_loss(self.weight * sum(means) / len(means))
        return logits

    def compute_output_spec(self, logits, gates):
        return keras.KerasTensor(logits.shape, logits.dtype)

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}


@keras.saving.register_keras_serializable(package="recipes")
class MaskLoss(keras.losses.Loss):
    """Cross-entropy of the pixels plus soft Dice of each image.

        loss = mean(crossentropy) + 1 - (2 sum(p y) + 1) / (sum(p) + sum(y) + 1)

    with p the probability and y the mask of a pixel. Cross-entropy counts each pixel alike; Dice,
    which is measured, looks at the foreground as a whole, also where it is small.

    Call arguments:
        y_true: Float tensor `(B, H, W)` of zeros and ones.
        y_pred: Float tensor of logits `(B, H, W)`.

    Reference:
        Milletari et al., 2016, section 3, https://arxiv.org/abs/1606.04797 (without its squares)
    """

    def call(self, y_true, y_pred):
        y = ops.cast(y_true, "float32")
        logits = ops.cast(y_pred, "float32")
        entropy = ops.mean(ops.softplus(logits) - y * logits, axis=(1, 2))
        p = ops.sigmoid(logits)
        both = ops.sum(p * y, axis=(1, 2))
        total = ops.sum(p, axis=(1, 2)) + ops.sum(y, axis=(1, 2))
        return entropy + 1 - (2 * both + 1) / (total + 1)
