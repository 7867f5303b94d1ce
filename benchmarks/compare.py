"""One comparison: memory of each entry alone, then times of all in turns, then the ratios."""

import gc
import time

import numpy as np

from benchmarks import compiled, measure
from benchmarks import memory as memories
from benchmarks.cases import process
from benchmarks.entries import products

AGREEMENT = {"float32": 1e-4, "bfloat16": 5e-2}


def compare(case, comparison, options, measure_memory=memories.in_its_own_process):
    """Measures a comparison.

    Args:
        case: String, its name.
        comparison: `Comparison`.
        options: `Options`.
        measure_memory: Function as `memory.in_its_own_process`.

    Returns:
        Dict of `records` (a list of dicts, one an entry), `ratios` (one a pair) and `skipped`.
    """
    skipped = []

    def skip(entry, why):
        place = "" if comparison.length is None else f" at T = {comparison.length:,}"
        skipped.append({"what": f"{entry.label}, {comparison.work}{place}", "why": why})

    figures, turns = {}, []
    if not _ours_is_absent(comparison, skip):
        figures = _with_memory(case, comparison, options, measure_memory, skip)
        turns = _in_turns(comparison, options, figures, skip)
    records = [_record(comparison, entry, *columns) for entry, *columns in turns]
    for record, (entry, *_) in zip(records, turns, strict=True):
        record |= figures[entry.label]
        if record.get("difference", 0) > AGREEMENT[compiled.dtype()]:
            skip(entry, f"measured, but its output differs by {record['difference']:.2g}")
    return {
        "records": records,
        "ratios": list(_ratios(comparison, turns, records)),
        "skipped": skipped,
    }


def _ours_is_absent(comparison, skip):
    """Whether there is nothing to compare the peers with."""
    ours = [e for e in comparison.entries if e.name == comparison.entries[0].name]
    if any(not entry.absent for entry in ours):
        return False
    skip(ours[0], ours[0].absent)
    return True


def _with_memory(case, comparison, options, measure_memory, skip):
    """The figures of memory, by label, of each entry that is here and fits."""
    found = {}
    for entry in comparison.entries:
        why, figures = entry.absent or _too_large(entry, options), {}
        if not why and comparison.with_memory and options.with_memory:
            figures = measure_memory(case, comparison, entry, options)
            why = figures if isinstance(figures, str) else None
        if why:
            skip(entry, why)
        else:
            found[entry.label] = figures
    return found


def _in_turns(comparison, options, figures, skip):
    """A tuple for each entry that runs: the entry, its seconds by turn, the matrix product's."""
    entries, runs, calls, expected = [], [], [], None
    for entry in comparison.entries:
        if entry.label not in figures:
            continue
        try:
            run, output, count = entry.build()(comparison.length), None, 1
            if not comparison.is_self_timed:
                output, count = measure.warm_up(run, compiled.finish)
        except Exception as error:  # of many libraries; the others are still worth comparing
            skip(entry, " ".join(f"{type(error).__name__}: {error}".split())[:300])
            continue
        entries.append(entry)
        runs.append(run)
        calls.append(count)
        if comparison.outputs_agree and entry.agrees:
            output = compiled.to_numpy(output)
            expected = output if expected is None else expected
            figures[entry.label]["difference"] = float(np.max(np.abs(output - expected)))
        del output
    if not entries:
        return []
    if comparison.with_matmul:
        runs.append(process.matmul_of(compiled.modes()[0])())
        calls.append(measure.warm_up(runs[-1], compiled.finish)[1])
    clock = None if comparison.is_self_timed else time.perf_counter
    table = measure.times(
        runs, options.turns, clock, calls=calls, budget=options.budget, finish=compiled.finish
    )
    del runs, run
    gc.collect()
    matmul = table[:, -1] if comparison.with_matmul else None
    return [(entry, table[:, i] / entry.calls, matmul) for i, entry in enumerate(entries)]


def _too_large(entry, options):
    limit = memories.limit_of(options)
    if limit is None or entry.estimate <= limit:
        return None
    return (
        f"would take some {entry.estimate / 2**30:.1f} GiB, where {limit / 2**30:.1f} GiB may be "
        "taken"
    )


def _record(comparison, entry, seconds, matmul):
    record = {
        "work": comparison.work,
        "length": comparison.length,
        "entry": entry.name,
        "mode": entry.mode,
        "seconds": float(np.median(seconds)),
        "turns": [float(x) for x in seconds],
        "operations": entry.operations,
        **entry.facts,
    }
    if matmul is not None:
        product = products(*[process.matmul_size()] * 3)
        record["matmul_operations_per_second"] = float(product / np.median(matmul))
        record["times_matmul"] = _ratio(seconds, matmul)
        if entry.operations:
            record["of_matmul"] = entry.operations / product / record["times_matmul"]
    return record


def _ratios(comparison, turns, records):
    """Each way of compiling ours beside each peer that is compiled so, or has one way alone."""
    name = comparison.entries[0].name
    rows = [(*turn[:2], record) for turn, record in zip(turns, records, strict=True)]
    for ours, seconds, record in rows:
        for peer, peers_seconds, peers_record in rows:
            is_pair = ours.name == name != peer.name and peer.mode in ("", ours.mode)
            if not is_pair:
                continue
            ratio = {
                "work": comparison.work,
                "length": comparison.length,
                "mode": ours.mode,
                "entry": name,
                "peer": peer.name,
                "time": _ratio(seconds, peers_seconds),
            }
            for figure, label in (("extra_bytes", "memory"), ("operators", "operators")):
                if record.get(figure) and peers_record.get(figure):
                    ratio[label] = record[figure] / peers_record[figure]
            yield ratio


def _ratio(seconds, others):
    return measure.ratio(np.stack([seconds, others], axis=1), 0, 1)
