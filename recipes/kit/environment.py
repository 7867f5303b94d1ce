"""The machine and the libraries that a figure was measured with."""

import importlib.metadata
import importlib.util
import os
import platform
import sys
from pathlib import Path


def machine():
    """Describes the machine: `cpu` model, `cores` we may use, `memory_gb` and `accelerators`."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gb": _memory_gb(),
        "accelerators": accelerators(),
        "system": platform.platform(terse=True),
    }


def versions():
    """Returns the versions of Python and of those libraries that shape a result."""
    found = {"python": platform.python_version()}
    for name in (
        "keras-attention-layers",
        "keras",
        "tensorflow",
        "tensorflow-text",
        "tokenizers",
        "numpy",
    ):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cpu_model():
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _memory_gb():
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


def accelerators():
    """Names of the GPUs that TensorFlow uses; none if it has not been imported."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return []
    config = tensorflow.config
    return [
        config.experimental.get_device_details(device).get("device_name", device.name)
        for device in config.list_physical_devices("GPU")
    ]
