"""Location-sensitive attention on sequences three times as long as those it was trained on.

    python -m benchmarks.location_sensitive

A decoder reads out a sequence of symbols, one after the other, with the symbols before given
(teacher forcing). There are few symbols, so that each of them stands at many positions: to go on it
must know where it is. Content-based attention finds the position by what the encoder says about
it, and gets lost where there are more than in training; location-sensitive attention moves on from
its last position, however many there are. The test of Chorowski et al., 2015, section 4.2, on a
small scale.
"""

import keras
import numpy as np

import keras_attention as ka

LENGTH = 12  # the longest sequence in training
SYMBOLS = 4
UNITS = 32
STEPS = 600  # of training, 64 sequences each
FACTORS = 1, 2, 3, 5


def sequences(count, length, seed, shortest=None):
    """Symbols 1 to `SYMBOLS` and padding 0, `(count, length)`."""
    rng = np.random.default_rng(seed)
    symbols = rng.integers(1, SYMBOLS + 1, (count, length))
    lengths = rng.integers(shortest or length, length + 1, count)
    return np.where(np.arange(length) < lengths[:, None], symbols, 0)


def shifted(symbols):
    """The symbols before each one; the first has `SYMBOLS + 1` before it."""
    before = np.where(symbols > 0, np.roll(symbols, 1, axis=1), 0)
    before[:, 0] = SYMBOLS + 1
    return before


def build(attention):
    """Symbols, and the symbols before, to the probabilities of the symbols."""
    read = keras.Input((None,), name="symbols", dtype="int32")
    before = keras.Input((None,), name="before", dtype="int32")
    memory = keras.layers.Embedding(SYMBOLS + 1, UNITS, mask_zero=True)(read)
    encoder = keras.layers.GRU(UNITS, return_sequences=True, use_cudnn=False)
    memory = keras.layers.Bidirectional(encoder)(memory)
    inputs = keras.layers.Embedding(SYMBOLS + 2, UNITS, mask_zero=True)(before)
    outputs = ka.AttentionDecoder(keras.layers.GRUCell(UNITS), attention)(inputs, memory)
    outputs = keras.layers.Dense(SYMBOLS + 1, activation="softmax")(outputs)
    return keras.Model((read, before), outputs)


def accuracy(model, length):
    symbols = sequences(256, length, seed=length)
    guesses = model.predict((symbols, shifted(symbols)), batch_size=256, verbose=0).argmax(-1)
    return float((guesses == symbols).mean())


def measure(attention, steps=STEPS, seed=0):
    """Trains a decoder with the attention; its accuracy for each multiple of the length."""
    keras.utils.set_random_seed(seed)
    model = build(attention)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, steps))
    model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=True)
    symbols = sequences(64 * steps, LENGTH, seed=seed, shortest=LENGTH // 2)
    weight = (symbols > 0).astype("float32")
    model.fit((symbols, shifted(symbols)), symbols, sample_weight=weight, verbose=0, batch_size=64)
    return {factor: accuracy(model, factor * LENGTH) for factor in FACTORS}


def main():
    attentions = {
        "content (additive)": ka.ContentAttention(score=ka.AdditiveScore(UNITS)),
        "location-sensitive": ka.LocationSensitiveAttention(UNITS, filters=8, kernel_size=5),
    }
    print(f"Accuracy after training on up to {LENGTH} symbols; chance is {1 / SYMBOLS:.2f}")
    print(f"{'':20}" + "".join(f"{f'x {factor}':>8}" for factor in FACTORS) + "   kept at x 3")
    for name, attention in attentions.items():
        found = measure(attention)
        kept = found[3] / found[1]
        print(f"{name:20}" + "".join(f"{x:8.3f}" for x in found.values()) + f"{kept:14.2f}")


if __name__ == "__main__":
    main()
