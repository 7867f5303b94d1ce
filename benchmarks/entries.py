"""What is compared: entries, one for ours and one for each peer, in comparisons."""

import dataclasses
import importlib.util
import inspect
import math
from collections.abc import Callable

from benchmarks import compiled

INSTALL = 'pip install "keras-attention-layers[benchmarks]"'


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command line asks of every case.

    Args:
        lengths: Tuple of positive integers T, or empty for those of the case.
        works: The kinds of work to measure, such as `"forward"`; empty for all.
        modes: The ways of compiling to measure; empty for all that the backend has.
        runs: Folders of trained recipes.
        turns: The most times that each entry takes its turn.
        budget: Seconds after which a comparison takes no further turn, once it has had three.
        with_memory: Whether to measure memory, in processes of their own.
        memory_limit: Bytes that no entry may exceed, or `None` for nine tenths of what is free.
    """

    lengths: tuple = ()
    works: tuple = ()
    modes: tuple = ()
    runs: tuple = ()
    turns: int = 9
    budget: float = 120.0
    with_memory: bool = True
    memory_limit: int | None = None

    def wants(self, work):
        return not self.works or work in self.works

    def modes_here(self):
        """The ways of compiling that are asked for and that the backend has."""
        return tuple(mode for mode in compiled.modes() if not self.modes or mode in self.modes)


@dataclasses.dataclass
class Entry:
    """One of those that are compared.

    Args:
        name: `"ours"`, or the peer's name.
        build: Function without arguments that makes the layer once and returns a function from a
            length to another one without arguments: that one runs it on inputs of that length.
        mode: How it is compiled; empty for a peer that has one way alone, compared with each.
        operations: Additions and multiplications that the result needs, or `None`.
        estimate: Bytes that it will take, as far as they are known before.
        agrees: Whether it does what the first does, and not something else for comparison.
        calls: Positive integer, how often a run does the work; times are those of one.
        absent: Why it can't take part, or `None`.
        facts: Dict of further figures, for the record.
    """

    name: str
    build: Callable
    mode: str = ""
    operations: float | None = None
    estimate: float = 0.0
    absent: str | None = None
    agrees: bool = True
    calls: int = 1
    facts: dict = dataclasses.field(default_factory=dict)

    @property
    def label(self):
        return f"{self.name}, {self.mode}" if self.mode else self.name


@dataclasses.dataclass
class Comparison:
    """Entries that do the same work; the first one's name is compared with the other names.

    Args:
        work: What is done, such as `"forward"`.
        length: Positive integer T, or `None` where there is none to vary.
        entries: List of `Entry`.
        outputs_agree: Whether all must give the same output, which is then compared.
        with_memory: Whether the memory is worth measuring.
        is_self_timed: Whether an entry's run returns its own seconds.
        with_matmul: Whether a large matrix product takes a turn as well.
    """

    work: str
    length: int | None
    entries: list
    outputs_agree: bool = False
    with_memory: bool = True
    is_self_timed: bool = False
    with_matmul: bool = True


@dataclasses.dataclass
class Skipped:
    """What a case can't measure, and why."""

    what: str
    why: str


def not_installed(package, name):
    """Why a peer of this package can't take part, or `None` if it can."""
    if importlib.util.find_spec(package) is None:
        return f"{name} is not installed: {INSTALL}"
    return None


def not_an_argument(cls, argument):
    """Why a layer can't be made with this argument, or `None` if it can."""
    if argument in inspect.signature(cls.__init__).parameters:
        return None
    return f"`{cls.__module__.partition('.')[0]}`'s {cls.__name__} has no argument `{argument}`"


def layer_entry(name, mode, work, make, inputs, **kwargs):
    """An entry for a Keras layer, forward or training.

    Args:
        name: String.
        mode: String, how to compile.
        work: `"forward"` or `"training"`.
        make: Function that returns a built layer, and the function of the tensors that calls it.
        inputs: Function from a length to a tuple of tensors.
        kwargs: Further arguments of `Entry`.
    """

    def build():
        layer, call = make()
        function = compiled.WORKS[work](call, layer.variables, layer.trainable_variables, mode)

        def prepare(length):
            tensors = inputs(length)
            return lambda: function(*tensors)

        return prepare

    return Entry(name, build, mode, **kwargs)


def lengths_of(options, default):
    return options.lengths or default


def products(*sizes):
    """Additions and multiplications of a product of matrices of these sizes."""
    return 2.0 * math.prod(sizes)
