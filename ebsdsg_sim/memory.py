"""How much memory a calculation may take, and what is left of it.

Nothing here is measured while computing: sizes of blocks and batches are computed from this budget
before anything is allocated.
"""

from __future__ import annotations

from pathlib import Path

import torch

from ebsdsg_sim.device import usable_device

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


class MemoryBudgetError(RuntimeError):
    """A calculation does not fit into the memory it may take."""


def free_memory(device: torch.device | str = "cpu") -> int:
    """Bytes free on a device; on a CPU what can be had without swapping, in this container.

    Raises
    ------
    DeviceError
        If torch cannot compute on the device.
    """
    device = usable_device(device)
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = _available()
    limit, used = _CGROUP / "memory.max", _CGROUP / "memory.current"
    if limit.exists() and used.exists() and limit.read_text().strip() != "max":
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return max(free, 0)


def memory_budget(memory: int | None = None, device: torch.device | str = "cpu") -> int:
    """Bytes a calculation may take on a device.

    Parameters
    ----------
    memory : the setting [bytes]; half of what is free where not given
    device : "cpu", "cuda", ...

    Raises
    ------
    MemoryBudgetError
        If the setting is not positive.
    """
    if memory is None:
        return free_memory(device) // 2
    if memory <= 0:
        raise MemoryBudgetError(f"memory = {memory}: must be a positive number of bytes")
    return int(memory)


def _available() -> int:
    if _MEMINFO.exists():
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    raise MemoryBudgetError("this system does not say how much memory is free: set it in bytes")
