"""The machine and the libraries that a figure was measured with."""

import importlib.metadata
import os
import platform
import sys
from pathlib import Path

# Those that shape a result.
PACKAGES = (
    "keras-attention-layers",
    "keras",
    "tensorflow",
    "tensorflow-text",
    "ai-edge-litert",
    "tokenizers",
    "numpy",
)


def machine():
    """Describes the machine.

    Returns:
        A dict of `cpu`, the processor's name; `cores`, the number that this process may use;
        `memory_gb`, or `None` where the system does not tell; `accelerators`, a list of the names
        of GPUs; and `system`.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count(),
        "memory_gb": _memory_gb(),
        "accelerators": _accelerators(),
        "system": platform.platform(terse=True),
    }


def versions(*packages):
    """The versions of Python, of the libraries that shape a result, and of further packages.

    Args:
        packages: Strings, names of distributions.

    Returns:
        A dict from each name to its version. A package that is not installed is left out.
    """
    found = {"python": platform.python_version()}
    for name in dict.fromkeys((*PACKAGES, *packages)):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cpu():
    """The processor's name; Python's own `platform` does not know it on Linux."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _memory_gb():
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


def _accelerators():
    """Names of the GPUs that TensorFlow uses; none if it has not been imported."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return []
    config = tensorflow.config
    return [
        config.experimental.get_device_details(device).get("device_name", device.name)
        for device in config.list_physical_devices("GPU")
    ]
