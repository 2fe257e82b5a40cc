"""What the figures were measured on, as far as it matters for them; nothing that names a machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path

# What the sidecar stands on; their releases change the figures.
_PACKAGES = ("msgspec", "prometheus-client", "psutil", "PyYAML", "tornado", "watchdog")


def description() -> list[str]:
    """Lines about processor, memory, kernel, Python and packages."""
    cores = len(os.sched_getaffinity(0))
    memory_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    return [
        f"{cores} cores ({_processor()}), {memory_gib:.0f} GiB of memory",
        f"Linux {_kernel()}, {platform.python_implementation()} {platform.python_version()}",
        f"{packages}",
    ]


def busy() -> float:
    """How many tasks wanted to run over the last minute; well above 0 before a run, others disturb the figures."""
    return os.getloadavg()[0]


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _kernel() -> str:
    """The version without what a builder has added to it."""
    found = re.match(r"[\d.]+", platform.release())
    return found[0] if found else platform.release()
