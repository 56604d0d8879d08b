"""The description of the machine in config.json."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from spinup.runs.cores import usable_cores
from spinup.version import __version__


def describe_machine(device: Any = None) -> dict[str, Any]:
    """Processor, number of usable cores, operating system, versions, and the GPU if the run uses it.

    Args:
        device: the device of the run, such as "cpu" or "cuda:0".
    """
    import torch

    machine = {
        "processor": _processor(),
        "cores": usable_cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "spinup": __version__,
    }
    if str(device).startswith("cuda"):
        machine["gpu"] = torch.cuda.get_device_name(device)
    return machine


def _processor() -> str:
    """The name of the processor's model; the name of its architecture if that is unknown."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
            return next(names, "") or platform.machine()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
