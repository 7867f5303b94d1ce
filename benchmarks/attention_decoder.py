"""What attention costs a recurrent decoder in training.

One training step (forward, backward, SGD) under XLA of a decoder that attends to 49 steps, such as
the 7 x 7 places of a picture, against the same cell in `keras.layers.RNN` without attention. Where
the decoder feeds a vector to its cell beside the input, the cell's kernel is larger, and so it is
for the cell it is compared with: that one gets inputs as wide, as a decoder without attention is
fed one vector for the whole memory. Inputs are embedded words; the memory is given, as by a network
that is not trained. The ratio to the cell with the inputs alone stands beside it.
All run in turns, so that a change of the machine's speed meets all.

    python -m benchmarks.attention_decoder            some minutes on two cores

Prints medians of the ratios of neighbours; the first is to stay below 1.6 for scores without a
hidden layer. An additive score has one for each pair of steps and costs what it costs.
"""

import argparse
import time

import keras
import numpy as np

import keras_attention as ka
from benchmarks.measure import ratio, times

BATCH, STEPS, MEMORY_STEPS = 32, 20, 49
WORDS = 1000
SIZE = 256  # of the inputs, the memory and the cell

CELLS = {"GRU": keras.layers.GRUCell, "LSTM": keras.layers.LSTMCell}
DECODERS = {
    "Luong, dot, input feeding": ("dot", {}),
    "Luong, general": ("general", {"input_feeding": False}),
    "Luong, general, input feeding": ("general", {}),
    "Luong, additive": ("additive", {"input_feeding": False}),
    "Bahdanau, additive": ("additive", {"order": "bahdanau"}),
}


def trainer(decoder, features=None, memory_steps=MEMORY_STEPS):
    """A function that runs one training step; inputs of `features`, `SIZE` by default."""
    rng = np.random.default_rng(0)
    tokens, memory = keras.Input((STEPS,), dtype="int32"), keras.Input((memory_steps, SIZE))
    inputs = keras.layers.Embedding(WORDS, features or SIZE)(tokens)
    outputs = (
        decoder(inputs, memory) if isinstance(decoder, ka.AttentionDecoder) else decoder(inputs)
    )
    model = keras.Model([tokens, memory], outputs)
    model.compile("sgd", "mse", jit_compile=True)
    arrays = [
        keras.ops.convert_to_tensor(rng.integers(0, WORDS, (BATCH, STEPS)).astype("int32")),
        keras.ops.convert_to_tensor(rng.normal(size=(BATCH, memory_steps, SIZE)).astype("float32")),
    ]
    target = keras.ops.zeros((BATCH, STEPS, SIZE))
    return lambda: model.train_on_batch(arrays, target)


def main(turns=40, use_cpu_time=False):
    """Prints the table, and returns it: a dict from cell and decoder to the first ratio."""
    clock, found = time.process_time if use_cpu_time else time.perf_counter, {}
    print("cell decoder                        same cell   inputs alone       ms")
    for cell_name, cell in CELLS.items():
        narrow = trainer(keras.layers.RNN(cell(SIZE), return_sequences=True))
        wide = trainer(keras.layers.RNN(cell(SIZE), return_sequences=True), 2 * SIZE)
        decoders = {
            name: ka.AttentionDecoder(cell(SIZE), ka.ContentAttention(score), **settings)
            for name, (score, settings) in DECODERS.items()
        }
        runs = [narrow, wide, *map(trainer, decoders.values())]
        table = times(runs, turns, clock)
        for i, (name, layer) in enumerate(decoders.items(), 2):
            same, alone = ratio(table, i, 1 if layer.fed_size else 0), ratio(table, i, 0)
            found[cell_name, name] = same
            milliseconds = 1000 * np.median(table[:, i])
            print(f"{cell_name:5}{name:30}{same:7.2f}{alone:14.2f}{milliseconds:12.0f}", flush=True)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--turns", type=int, default=40, help="steps of each (default: 40)")
    parser.add_argument(
        "--use-cpu-time", action="store_true", help="count the work, on a machine that is busy"
    )
    main(**vars(parser.parse_args()))
