"""Times, taken in turns: this is what makes them comparable where the machine's speed drifts."""

import math
import time

import numpy as np

LEAST_TURNS = 3
# Seconds; a run that is shorter is repeated within its turn. What ran before it may have given
# memory back, which the first call has to fetch anew: it is to be one of several.
SHORTEST = 1.5
LONG = 20  # seconds; no compiling takes so long, so such a run need not be tried twice
REST = 0.005  # seconds before each: threads of one library that still spin slow the next one


def nothing(output):
    """For runs whose output is there when they return."""


def times(runs, turns, clock=time.perf_counter, *, calls=None, budget=math.inf, finish=nothing):
    """Seconds of a call of each run in each turn, `(turns, runs)`.

    Every turn takes all runs, one after the other, every second turn in reverse order.

    Args:
        runs: List of functions without arguments.
        turns: Positive integer, the most turns.
        clock: Function that returns seconds, or `None`: each run returns its own seconds.
        calls: List of integers, how often each run is called in its turn, as `warm_up` found it;
            `None` to warm up here, and to call each once.
        budget: Seconds after which no further turn is taken, once there have been three.
        finish: Function of a run's output that waits until it is there.
    """
    if calls is None:
        for run in runs * 2 if clock else ():  # compile
            run()
        calls = [1] * len(runs)
    table, started = [], time.perf_counter()
    for turn in range(turns):
        if turn >= LEAST_TURNS and time.perf_counter() - started > budget:
            break
        row = np.empty(len(runs))
        for i in range(len(runs))[:: -1 if turn % 2 else 1]:
            time.sleep(REST)
            row[i] = _seconds(runs[i], calls[i], clock, finish)
        table.append(row)
    return np.array(table)


def warm_up(run, finish=nothing):
    """Compiles; returns the output, and how many calls take long enough to be timed."""
    for _ in range(2):
        start = time.perf_counter()
        output = run()
        finish(output)
        seconds = time.perf_counter() - start
        if seconds > LONG:
            break
    return output, max(1, min(1000, math.ceil(SHORTEST / seconds)))


def _seconds(run, calls, clock, finish):
    if clock is None:
        return run()
    start = clock()
    for _ in range(calls):
        output = run()
    finish(output)
    return (clock() - start) / calls


def ratio(table, first, second):
    """The median over the turns of one column of `times` by another."""
    return float(np.median(table[:, first] / table[:, second]))
