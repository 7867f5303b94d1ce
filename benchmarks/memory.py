"""How much memory an entry takes beyond its weights and inputs, in a process of its own.

    python -m benchmarks.memory JOB      JOB: a case and an entry, as json; called by the command

The host's peak is Linux' `VmHWM`, set back before the run. `ru_maxrss` does not do: a process
begins with the peak of the one that started it. Allocators keep what was freed, which would hide
what a further call needs, so they are told to hand it back at once.
"""

import contextlib
import ctypes
import dataclasses
import gc
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).parent.parent
STATUS = pathlib.Path("/proc/self/status")
OVER_THE_LIMIT = 77  # exit code
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ONEDNN_USE_SYSTEM_ALLOCATOR": "1",  # TensorFlow's own one never hands anything back
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
TINY = 8  # length of the call that warms up


def free_bytes():
    """Memory that is free on this machine, or `None` where that is not known."""
    try:
        kilobytes = re.search(r"MemAvailable:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())
        free = 1024 * int(kilobytes[1])
    except (OSError, TypeError):
        return None
    with contextlib.suppress(OSError, ValueError):  # a container may have less
        group = pathlib.Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        free = min(free, limit - int((group / "memory.current").read_text()))
    return free


def limit_of(options):
    """Bytes that an entry may take, or `None` where nothing is known."""
    from benchmarks import compiled

    if options.memory_limit is not None:
        return options.memory_limit
    if compiled.is_on_gpu():
        import jax

        free = jax.devices()[0].memory_stats()["bytes_limit"]
    else:
        free = free_bytes()
    return None if free is None else 0.9 * free


def extra_bytes(prepare, length, framework="keras"):
    """Peak bytes of a call above what was there before it.

    Args:
        prepare: What an entry's `build` returned.
        length: Positive integer or `None`.
        framework: `"torch"` for a peer that has its own memory on a GPU.

    Returns:
        Dict of `extra_bytes`, those of a second call, and `first_call_bytes`, which compiling is
        part of.
    """
    from benchmarks import compiled

    compiled.finish(prepare(TINY)())
    run = prepare(length)
    meter = _Device(framework) if compiled.is_on_gpu() else _Host()
    peaks = []
    for _ in range(2):
        meter.start()
        compiled.finish(run())
        peaks.append(max(0, meter.peak()))
    # A GPU's peak can't be set back: there the second call can only tell what the first did.
    return {"first_call_bytes": peaks[0], "extra_bytes": peaks[1]}


class _Host:
    def start(self):
        gc.collect()
        if sys.platform == "linux":
            with contextlib.suppress(OSError, AttributeError):
                ctypes.CDLL(None).malloc_trim(0)
            pathlib.Path("/proc/self/clear_refs").write_text("5")
        self._before = _resident("VmRSS")

    def peak(self):
        return _resident("VmHWM") - self._before


class _Device:
    def __init__(self, framework):
        self._framework = framework

    def start(self):
        gc.collect()
        self._before = self._bytes("bytes_in_use")

    def peak(self):
        return self._bytes("peak_bytes_in_use") - self._before

    def _bytes(self, name):
        if self._framework == "torch":
            import torch

            is_peak = name.startswith("peak")
            return torch.cuda.max_memory_allocated() if is_peak else torch.cuda.memory_allocated()
        import jax

        return jax.devices()[0].memory_stats()[name]


def _resident(field):
    """Bytes of resident memory, `"VmRSS"` now or `"VmHWM"` at most so far."""
    if STATUS.exists():
        return 1024 * int(re.search(rf"{field}:\s+(\d+)", STATUS.read_text())[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def guard(limit, exit_code=OVER_THE_LIMIT):
    """Ends this process as soon as it takes more than `limit` bytes, before the machine does."""
    if limit is None or not STATUS.exists():
        return

    def watch():
        while True:
            if _resident("VmRSS") > limit:
                os._exit(exit_code)
            time.sleep(0.02)

    threading.Thread(target=watch, daemon=True).start()


def in_its_own_process(case, comparison, entry, options):
    """The figures of `extra_bytes`, or a string: why there are none."""
    job = {
        "case": case,
        "name": entry.name,
        "mode": entry.mode,
        "options": dataclasses.asdict(options)
        | {
            "lengths": [] if comparison.length is None else [comparison.length],
            "works": [comparison.work],
            "memory_limit": limit_of(options),
        },
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", json.dumps(job)],
        cwd=ROOT,
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == OVER_THE_LIMIT:
        return f"took more than {job['options']['memory_limit'] / 2**30:.1f} GiB"
    if done.returncode < 0:
        return f"ended by signal {-done.returncode}, most likely for its memory"
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        return lines[-1][:300]
    return json.loads(done.stdout.splitlines()[-1])


def main(job):
    from benchmarks import cases, compiled
    from benchmarks.entries import Options

    compiled.set_up()
    job = json.loads(job)
    options = Options(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in job["options"].items()
        }
    )
    guard(options.memory_limit)
    for comparison in cases.find(job["case"])(options):
        for entry in getattr(comparison, "entries", ()):
            if (entry.name, entry.mode) == (job["name"], job["mode"]):
                framework = "torch" if entry.name.startswith("torch") else "keras"
                found = extra_bytes(entry.build(), comparison.length, framework)
                print(json.dumps(found))
                return


if __name__ == "__main__":
    main(sys.argv[1])
