"""Ours beside its peers: time, memory, and the distance to the machine's limit.

    python -m benchmarks                        every case (hours on two cores)
    python -m benchmarks mha window             some of them
    python -m benchmarks mha --lengths 4096 --works forward --modes graph
    python -m benchmarks recipes --runs saved_models/*
    KERAS_BACKEND=jax python -m benchmarks mha  the other backend; on a GPU in bfloat16

All entries of a comparison take turns in one process, every second turn in reverse, and a ratio is
the median of the turns' ratios (ours by the peer's, so below 1 ours is better): only neighbours
can be compared where a machine's speed drifts. A large product of matrices takes its turn as well;
`of matmul` is the share of its rate that a case reaches, by the operations that the result
needs. Memory is the peak of a call above weights and inputs, each in a fresh process.
Peers that are not installed, or need more memory than is free, are skipped with a line.
"""

import argparse
import os
import sys
from pathlib import Path

from benchmarks.cases import CASES, find

BACKENDS = "tensorflow", "jax"
DEFAULT_OUTPUT = "benchmarks_results"


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UserError(message)


class UserError(Exception):
    """Wrong use: shown as one line, with exit code 2."""


def main(argv=None, measure_memory=None):
    """Runs the command line; returns the exit code.

    Args:
        argv: List of strings, by default the program's own.
        measure_memory: Function as `memory.in_its_own_process`, which is the default.
    """
    # TensorFlow reads this when it is first imported, and would bury the table in its remarks.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # A GPU is shared with PyTorch, and with the processes that measure memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    argv = sys.argv[1:] if argv is None else list(argv)
    done = []
    try:
        arguments = _parse(argv)
        if arguments.list:
            print("\n".join(f"{name:10}{about}" for name, (_, about) in CASES.items()))
        else:
            _run(arguments, argv, measure_memory, done)
        sys.stdout.flush()  # a closed pipe shows here, where it can be handled
    except UserError as error:
        print(*f"Error: {error}".split(), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = f" Kept in {arguments.output}: {', '.join(done)}." if done else " Nothing written."
        print(f"Interrupted.{kept}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    return 0


def _parse(argv):
    parser = _Parser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog="cases:\n" + "".join(f"  {name:10}{about}\n" for name, (_, about) in CASES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("cases", nargs="*", metavar="CASE", help="what to measure (default: all)")
    add("--list", action="store_true", help="print the cases, and end")
    add("--lengths", type=_lengths, default=(), metavar="T,T,...", help="instead of the case's own")
    add("--works", type=_names, default=(), metavar="NAME,...", help="such as forward, training")
    add(
        "--modes",
        type=_names,
        default=(),
        metavar="NAME,...",
        help="of graph, xla (TensorFlow), jit (JAX)",
    )
    add("--runs", nargs="+", default=(), metavar="FOLDER", help="folders of trained recipes")
    add("--turns", type=_positive, default=9, help="turns of each entry (default: 9)")
    add(
        "--budget", type=_positive, default=120,
        help="seconds after which a comparison ends with three turns or more (default: 120)",
    )  # fmt: skip
    add("--no-memory", action="store_true", help="measure times alone, without fresh processes")
    add("--memory-limit", type=_positive, metavar="GIB", help="default: nine tenths of the free")
    add(
        "--output", default=DEFAULT_OUTPUT, metavar="FOLDER",
        help=f"for json, table and pictures (default: {DEFAULT_OUTPUT})",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    for name in arguments.cases:
        if name not in CASES:
            raise UserError(f"no case is named {name!r}; the cases are {', '.join(CASES)}")
    for folder in arguments.runs:
        if not any(Path(folder).glob("*.tflite")):
            raise UserError(f"--runs must name folders with TFLite files. Received: {folder}")
    output = arguments.output = Path(arguments.output).expanduser()
    if output.exists() and not output.is_dir():
        raise UserError(f"--output must be a folder. Received: {output}, which is a file")
    return arguments


def _run(arguments, argv, measure_memory, done):
    """Measures case by case; what is finished is written and named in `done`."""
    backend = os.environ.get("KERAS_BACKEND", BACKENDS[0])
    if backend not in BACKENDS:
        raise UserError(f"KERAS_BACKEND must be one of {', '.join(BACKENDS)}. Received: {backend}")
    import keras

    if keras.config.backend() not in BACKENDS:  # which keras.json may choose as well
        raise UserError(
            f"The backend of keras.json must be one of {', '.join(BACKENDS)}, or set "
            f"KERAS_BACKEND. Received: {keras.config.backend()}"
        )
    from benchmarks import compiled, memory, report
    from benchmarks.compare import compare
    from benchmarks.entries import Options, Skipped

    for mode in arguments.modes:
        if mode not in compiled.modes():
            has = ", ".join(compiled.modes())
            raise UserError(
                f"--modes must be some of {has} on {compiled.BACKEND}. Received: {mode}"
            )
    compiled.set_up()
    gib = arguments.memory_limit
    options = Options(
        lengths=arguments.lengths,
        works=arguments.works,
        modes=arguments.modes,
        runs=tuple(map(str, arguments.runs)),
        turns=arguments.turns,
        budget=arguments.budget,
        with_memory=not arguments.no_memory,
        memory_limit=None if gib is None else gib * 2**30,
    )
    measure_memory = measure_memory or memory.in_its_own_process
    results, lines = report.header(argv), []

    def say(line):
        lines.append(line)
        print(line, flush=True)

    for name in arguments.cases or CASES:
        about = CASES[name][1]
        say(f"{name}: {about} ({results['backend']}, {results['dtype']})")
        found = {"about": about, "records": [], "ratios": [], "skipped": []}
        comparisons = list(find(name)(options))
        if not comparisons:
            say(f"  skipped: {name}: it has none of the works {', '.join(options.works)}")
        widths = report.widths_of(comparisons)
        for comparison in comparisons:
            if isinstance(comparison, Skipped):
                part = {"records": [], "ratios": [], "skipped": [vars(comparison)]}
            else:
                part = compare(name, comparison, options, measure_memory)
            if part["records"] and not found["records"]:
                say(report.title(widths))
            for line in report.lines_of(part, widths):
                say(line)
            for key, items in part.items():
                found[key] += items
        found["growth"] = report.growth(found["records"])
        for line in report.matmul_lines(found["records"]) + report.growth_lines(found["growth"]):
            say(line)
        say("")
        results["cases"][name] = found
        written = [report.write(arguments.output, results, lines)]
        try:
            written.append(report.picture(arguments.output, name, about, results))
        except ImportError as error:
            say(f'  no picture: {error}: pip install "keras-attention-layers[benchmarks]"')
        done.append(name)
        print("  written:", *(str(path) for path in written if path), "\n", flush=True)


def _lengths(text):
    return tuple(sorted({_positive(part) for part in text.split(",")}))


def _names(text):
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _positive(text):
    if not text.strip().isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a positive integer. Received: {text}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
