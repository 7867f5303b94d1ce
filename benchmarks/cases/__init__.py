"""The cases, by name. Each is a function from `Options` to comparisons, in a family's module."""

import importlib

# Name: the module, and what is measured.
CASES = {
    "mha": ("attention", "multi-head attention over T steps: 512 features, 8 heads, batch 1"),
    "causal": (
        "attention",
        "multi-head attention, causal: 512 features, 8 heads, batch 1",
    ),
    "window": ("attention", "multi-head attention in a window of 256 steps (of 1,024 on GPUs)"),
    "additive": ("attention", "additive scores, T x T: 128 features, batch 8"),
    "pooling": ("attention", "T steps to a vector: 256 features, batch 8"),
    "han": ("documents", "hierarchical attention: batch 8, 15 sentences of T words, 50 units"),
    "decoder": ("decoding", "a recurrent decoder over T memory steps: 256 units, batch 32"),
    "cached": ("decoding", "cached decoding of T tokens: 4 layers of width 256, batch 1"),
    "tflite": ("phone", "exported graphs of layers: operators and milliseconds, one thread"),
    "recipes": ("phone", "the TFLite files of trained recipes, in the folders of --runs"),
    "import": ("process", "seconds that keras_attention adds to `import keras`"),
    "matmul": ("process", "one large product of matrices: the machine's limit"),
}


def find(name):
    """The case's function; Keras is imported here at the latest."""
    module = importlib.import_module(f"benchmarks.cases.{CASES[name][0]}")
    return getattr(module, "import_" if name == "import" else name)
