"""What was measured, as a table, as json and as pictures."""

import datetime
import json
import os
import shlex

import numpy as np

from benchmarks import compiled
from keras_attention.machine import machine, versions

JSON, TABLE = "benchmarks.json", "benchmarks.md"
PACKAGES = "keras-hub", "torch", "jax", "jaxlib"
GROWTH_FROM = 2048  # below it the cost of a call hides how it grows
COLORS = {"ours": "tab:blue", "keras": "tab:orange", "torch": "tab:green"}
STYLES = {"graph": "-", "xla": "--", "jit": "-"}


def header(argv):
    """Where, when, how and with what it was measured; `cases` are to be filled in."""
    backend = os.environ.get("KERAS_BACKEND")
    command = shlex.join(["python", "-m", "benchmarks", *argv])
    return {
        "command": f"KERAS_BACKEND={backend} {command}" if backend else command,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "backend": compiled.BACKEND,
        "device": compiled.device_name(),
        "dtype": compiled.dtype(),
        "machine": machine(),
        "versions": versions(*PACKAGES),
        "cases": {},
    }


# ------------------------------------------------------------------------------------ table

WIDTHS = 10, 12  # of the columns of the work and of the peer


def lines_of(found, widths=WIDTHS):
    """A line for each ratio, then one for each thing that was skipped.

    Args:
        found: What `compare` returned.
        widths: Two integers, of the columns of the work and of the peer.
    """
    records = {(r["work"], r["length"], r["entry"], r["mode"]): r for r in found["records"]}

    def record(ratio, name):
        place = ratio["work"], ratio["length"], ratio[name]
        return records.get((*place, ratio["mode"])) or records[(*place, "")]

    lines = []
    paired = set()
    for ratio in found["ratios"]:
        ours, peer = record(ratio, "entry"), record(ratio, "peer")
        paired |= {id(ours), id(peer)}
        lines.append(_line(widths, ours, peer, ratio))
    for alone in found["records"]:
        if id(alone) not in paired:
            lines.append(_line(widths, alone, None, {}))
    lines += [f"  skipped: {skipped['what']}: {skipped['why']}" for skipped in found["skipped"]]
    return lines


def title(widths=WIDTHS):
    """The two lines above the table; a ratio is ours by the peer's."""
    work, peer = widths
    return (
        f"{'':{work + peer + 15}}{'time':>9}{'':16}{'memory':>10}{'':18}{'of matmul':>14}\n"
        f"{'':{work}}{'T':>7} {'mode':7}{'peer':{peer}}{'ours':>9}{'peer':>9}{'ratio':>7}"
        f"{'ours':>10}{'peer':>10}{'ratio':>8}{'ours':>8}{'peer':>6}"
    )


def widths_of(comparisons):
    """The widths of the first columns that hold all that may come."""
    comparisons = [c for c in comparisons if hasattr(c, "entries")]
    works = [len(_name(c.work, e.name)) for c in comparisons for e in c.entries]
    peers = [len(e.name) for c in comparisons for e in c.entries]
    return max([*works, WIDTHS[0] - 1]) + 1, max([*peers, WIDTHS[1] - 1]) + 1


def _name(work, entry):
    return f"{work}, {entry}" if " at " in entry else work


def _line(widths, ours, peer, ratio):
    name = _name(ours["work"], ours["entry"])
    cells = [
        f"{name:{widths[0]}}",
        f"{ours['length']:>7,} " if ours["length"] else " " * 8,
        f"{ours['mode']:7}",
        f"{peer['entry'] if peer else '-':{widths[1]}}",
        f"{seconds(ours['seconds']):>9}",
        f"{seconds(peer['seconds']) if peer else '':>9}",
        f"{_ratio(ratio.get('time')):>7}",
    ]
    if "operators" in ours:
        size = [f"{x['operators']} ops" if x else "" for x in (ours, peer)]
        of_size = ratio.get("operators")
    else:
        size = [_bytes(x.get("extra_bytes")) if x else "" for x in (ours, peer)]
        of_size = ratio.get("memory")
    cells += [f"{text:>10}" for text in size] + [f"{_ratio(of_size):>8}"]
    shares = [x.get("of_matmul") if x else None for x in (ours, peer)]
    cells += [f"{_ratio(shares[0]):>8}", f"{_ratio(shares[1]):>6}"]
    return "".join(cells).rstrip()


def seconds(x):
    """Three digits and a unit: `12.3 ms`."""
    unit, scale = next(
        (u, s) for u, s in (("s", 1), ("ms", 1e3), ("us", 1e6)) if x * s >= 1 or u == "us"
    )
    return f"{_digits(x * scale)} {unit}"


def _bytes(x):
    if x is None:
        return ""
    return f"{_digits(x / 2**30)} GiB" if x >= 2**30 else f"{_digits(x / 2**20)} MiB"


def _digits(x):
    return f"{x:,.0f}" if x >= 99.95 else f"{x:.1f}" if x >= 9.995 else f"{x:.2f}"


def _ratio(x):
    return "" if x is None else f"{x:.2f}" if x >= 0.1 else f"{x:.3f}"


def growth(records):
    """How time and memory grow: the power of T that fits them, for each entry.

    Times are taken as multiples of the matrix product's, measured in the same turns: what was
    measured minutes apart could not be compared otherwise.
    """
    rows = []
    for (work, name, mode), group in _lines_over_lengths(records):
        large = [r for r in group if r["length"] >= GROWTH_FROM]
        group = large if len(large) >= 3 else group
        if len(group) < 3:
            continue
        row = {"work": work, "entry": name, "mode": mode}
        row |= {"from": group[0]["length"], "to": group[-1]["length"]}
        for figure, label in (("times_matmul", "time"), ("extra_bytes", "memory")):
            if all(r.get(figure) for r in group):
                logs = np.log([[r["length"], r[figure]] for r in group])
                row[label] = float(np.polyfit(*logs.T, 1)[0])
        rows.append(row)
    return rows


def matmul_lines(records):
    """The rate that the shares are of, over all turns of a case."""
    rates = [r["matmul_operations_per_second"] for r in records if "times_matmul" in r]
    if not rates:
        return []
    return [f"  the matrix product: {np.median(rates) / 1e9:,.0f} billion operations a second"]


def growth_lines(rows):
    return [
        f"  {row['work']}, {row['entry']}{', ' + row['mode'] if row['mode'] else ''}: from "
        f"T = {row['from']:,} to {row['to']:,} "
        + " and ".join(
            f"{label} grows as T^{row[label]:.2f}" for label in ("time", "memory") if label in row
        )
        for row in rows
    ]


def _lines_over_lengths(records):
    """Pairs of (work, entry, mode) and the records by growing length, where there are several."""
    groups = {}
    for record in records:
        if record["length"] is not None:
            key = record["work"], record["entry"], record["mode"]
            groups.setdefault(key, []).append(record)
    for key, group in groups.items():
        yield key, sorted(group, key=lambda record: record["length"])


# ------------------------------------------------------------------------------------ files


def write(folder, results, lines):
    """Writes table and json, each whole or not at all; returns the json's path."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = f"```\n{results['command']}\n\n" + "\n".join(lines) + "\n```\n"
    for name, text in ((TABLE, whole), (JSON, json.dumps(results, indent=1) + "\n")):
        new = folder / f".{name}.new"
        new.write_text(text, encoding="utf-8")
        new.replace(folder / name)
    return folder / JSON


def picture(folder, name, about, results):
    """Draws time and memory over T; returns the path, or `None` where there is no T to vary.

    Raises:
        ImportError: without matplotlib.
    """
    records = results["cases"][name]["records"]
    lines = [(key, group) for key, group in _lines_over_lengths(records) if len(group) > 1]
    if not lines:
        return None
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    works = list(dict.fromkeys(work for (work, _, _), _ in lines))
    figures = [("seconds", "seconds", 1.0)]
    if any("extra_bytes" in record for record in records):
        figures.append(("extra_bytes", "MiB beyond weights and inputs", 2.0**-20))
    figure = Figure(figsize=(5.5 * len(works), 0.6 + 3.4 * len(figures)), layout="constrained")
    grid = figure.subplots(len(figures), len(works), squeeze=False, sharex=True, sharey="row")
    spare = iter(("tab:red", "tab:purple", "tab:brown", "tab:pink", "tab:gray"))
    colors = dict(COLORS)
    for row, (key, unit, scale) in zip(grid, figures, strict=True):
        for axes, work in zip(row, works, strict=True):
            for (of_work, entry, mode), group in lines:
                points = [(r["length"], scale * r[key]) for r in group if r.get(key)]
                if of_work != work or not points:
                    continue
                if entry not in colors:
                    colors[entry] = next(spare, "black")
                axes.plot(
                    *zip(*points, strict=True),
                    STYLES.get(mode, ":"),
                    marker="o",
                    markersize=3,
                    color=colors[entry],
                    label=f"{entry}, {mode}" if mode else entry,
                )
            axes.set(xscale="log", yscale="log", ylabel=unit)
            axes.set_title(f"{work}: {'time' if key == 'seconds' else 'memory'}", fontsize=10)
            axes.grid(alpha=0.3)
            axes.legend(fontsize=8)
            lengths = sorted({r["length"] for _, group in lines for r in group})
            axes.set_xticks(lengths, labels=[f"{length:,}" for length in lengths], rotation=45)
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.xaxis.set_minor_locator(LogLocator(subs=()))
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.10g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
    for axes in grid[-1]:
        axes.set_xlabel("T, steps")
    figure.suptitle(_caption(about, results), fontsize=9)
    path = folder / f"{name}.png"
    new = folder / f".{name}.new.png"
    figure.savefig(new, dpi=120)
    new.replace(path)
    return path


def _caption(about, results):
    machine = results["machine"]
    where = f"{machine['cpu']}, {machine['cores']} cores"
    if results["device"] != "cpu":
        where = results["device"]
    return f"{about}\n{results['backend']}, {results['dtype']}, {where}, {results['date'][:10]}"
