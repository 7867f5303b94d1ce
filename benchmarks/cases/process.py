"""What does not belong to one layer: the import, and the machine's limit."""

import functools
import os
import subprocess
import sys

from benchmarks import compiled
from benchmarks.cases.attention import normal
from benchmarks.entries import Comparison, Entry, not_installed, products
from benchmarks.memory import ROOT

IMPORT = """
import time
{before}
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""


def import_(options):
    """Fresh processes in turns; ours is what comes on top of Keras."""
    entries = [
        Entry("ours", lambda: lambda length: functools.partial(_import, "keras_attention")),
        Entry("keras", lambda: lambda length: functools.partial(_import, "keras")),
    ]
    if options.wants("import"):
        yield Comparison(
            "import", None, entries, with_memory=False, is_self_timed=True, with_matmul=False
        )


def _import(module):
    """Seconds of an import in a fresh process."""
    code = IMPORT.format(before="" if module == "keras" else "import keras", module=module)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])


def matmul(options):
    """A product of two large square matrices, in each way of compiling and in PyTorch."""
    if not options.wants("matmul"):
        return
    size = matmul_size()
    entries = [
        Entry("ours", functools.partial(matmul_of, mode), mode, products(size, size, size))
        for mode in options.modes_here()
    ]
    entries.append(
        Entry(
            "torch",
            _matmul_of_torch,
            operations=products(size, size, size),
            absent=not_installed("torch", "PyTorch"),
        )
    )
    yield Comparison("matmul", None, entries, with_memory=False)


def matmul_size():
    # Half of it on a CPU takes a tenth longer where memory for the result is fetched anew.
    return 8192 if compiled.is_on_gpu() else 4096


def matmul_of(mode):
    """An entry's `build`; the product that every case is compared with."""
    import keras

    function = compiled.forward(keras.ops.matmul, [], [], mode)
    tensors = [compiled.tensor(matrix) for matrix in _matrices()]
    return lambda length=None: lambda: function(*tensors)


def _matmul_of_torch():
    import torch

    kind = {"device": "cuda", "dtype": torch.bfloat16} if compiled.is_on_gpu() else {}
    a, b = (torch.tensor(matrix, **kind) for matrix in _matrices())
    return lambda length=None: lambda: a @ b


def _matrices():
    size = matmul_size()
    return [normal(seed, size, size) for seed in range(2)]
