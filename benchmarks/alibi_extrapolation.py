"""ALiBi and other positions on sequences four times as long as those they were trained on.

    python -m benchmarks.alibi_extrapolation

A language model of two decoder blocks reads symbols of which each follows, nine times out of ten,
from the two before it; which of the two came first matters, so the model must know positions, and
near ones alone. It is trained on short sequences and then reads longer ones. A learned embedding
has no vectors for those, and can't be asked. The test of Press et al., 2022, section 3, in small.
"""

import keras
import numpy as np

import keras_attention as ka

LENGTH = 16  # of the sequences in training
FACTORS = 1, 2, 4
SYMBOLS = 8
NOISE = 0.1  # the share of symbols that are drawn at random
UNITS = 32
HEADS = 4
STEPS = 500  # of training, 64 sequences each
SEEDS = 0, 1
POSITIONS = ("none", "sinusoidal", "rotary", "alibi")


def sequences(count, length, seed):
    """Symbols `(count, length + 1)`; the table of what follows what is always the same."""
    follows = np.random.default_rng(0).integers(0, SYMBOLS, (SYMBOLS, SYMBOLS))
    rng = np.random.default_rng(seed)
    symbols = rng.integers(0, SYMBOLS, (count, length + 1))
    is_noise = rng.random((count, length + 1)) < NOISE
    for t in range(2, length + 1):
        regular = follows[symbols[:, t - 2], symbols[:, t - 1]]
        symbols[:, t] = np.where(is_noise[:, t], symbols[:, t], regular)
    return symbols


def build(position):
    """Symbols `(B, T)` to the logits of the next ones `(B, T, SYMBOLS)`."""
    inside = {"rotary": ka.RotaryPositionEmbedding, "alibi": ka.ALiBiScore}.get(position)
    symbols = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(SYMBOLS, UNITS)(symbols)
    if position == "sinusoidal":
        x = ka.SinusoidalPositionEncoding()(x)
    for _ in range(2):
        attention = ka.MultiHeadAttention(
            HEADS, UNITS // HEADS, position=None if inside is None else inside()
        )
        x = ka.TransformerDecoderBlock(2 * UNITS, attention=attention, norm_first=True)(x)
    x = keras.layers.LayerNormalization()(x)
    return keras.Model(symbols, keras.layers.Dense(SYMBOLS)(x))


def accuracies(position, seed):
    """The share of right symbols over the last `LENGTH` steps, for each factor of the length."""
    keras.utils.set_random_seed(seed)
    model = build(position)
    model.compile(
        keras.optimizers.Adam(3e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=True,
    )
    data = sequences(64 * STEPS, LENGTH, seed=1 + seed)
    model.fit(data[:, :-1], data[:, 1:], batch_size=64, epochs=1, verbose=0)
    shares = []
    for factor in FACTORS:
        data = sequences(500, factor * LENGTH, seed=100 + seed)
        guesses = model.predict(data[:, :-1], batch_size=500, verbose=0).argmax(-1)
        shares.append(np.mean((guesses == data[:, 1:])[:, -LENGTH + 2 :]))
    return shares


def main():
    best = 1 - NOISE + NOISE / SYMBOLS
    print(f"trained on length {LENGTH}; share of right symbols, at most {best:.3f}")
    print(f"{'position':12s}", *(f"length {factor * LENGTH:3d}" for factor in FACTORS))
    for position in POSITIONS:
        shares = np.mean([accuracies(position, seed) for seed in SEEDS], axis=0)
        print(f"{position:12s}", *(f"{share:10.3f}" for share in shares))


if __name__ == "__main__":
    main()
