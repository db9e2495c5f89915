"""Which OpenCL platforms and GPUs this machine has, asked before EMMCOpenCL runs.

EMMCOpenCL finds out only after it has read everything, and then ends with exit code 0.  The
question is asked in a process of its own, because drivers crash and hang.  Numbers start at 1, as
EMsoft counts; only GPUs count, because EMMCOpenCL asks for nothing else.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from ebsdsg_flows.engines.emsoft.failures import NO_DEVICE, NO_PLATFORM

GPU = 4
NAME = {"platform": 0x0902, "device": 0x102B}
TIMEOUT = 60.0


@dataclass(frozen=True)
class Platform:
    """One OpenCL platform.

    Parameters
    ----------
    name : as the driver calls it.
    gpus : names of its GPUs, in EMsoft's order.
    """

    name: str
    gpus: tuple[str, ...]


def probe() -> tuple[Platform, ...] | None:
    """Platforms of this machine.

    Returns
    -------
    In EMsoft's order; ``None`` if it cannot be found out, because the loader library is not where
    the system looks for libraries, or the drivers do not answer.  EMMCOpenCL, which may be linked
    to another one, is the judge then.
    """
    try:
        answer = subprocess.run(
            [sys.executable, "-m", __name__],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        listed = json.loads(answer.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return None
    if listed is None:
        return None
    return tuple(Platform(name, tuple(gpus)) for name, gpus in listed)


def check_device(platforms: tuple[Platform, ...] | None, platform: int, device: int) -> str:
    """Name of the GPU that EMMCOpenCL would use.

    Parameters
    ----------
    platforms : result of :func:`probe`.
    platform, device : numbers from 1.

    Returns
    -------
    Its name, or ``platform/device`` if nothing could be found out.

    Raises
    ------
    EngineFailure
        If there is no such platform or no such GPU.
    """
    if platforms is None:
        return f"OpenCL {platform}/{device}"
    names = ", ".join(f"{i} {p.name}" for i, p in enumerate(platforms, 1)) or "none"
    if platform > len(platforms):
        raise NO_PLATFORM.failure(
            f"platform {platform} was asked for (EBSDSG_EMSOFT_PLATFORM); there are: {names}"
        )
    gpus = platforms[platform - 1].gpus
    if device > len(gpus):
        raise NO_DEVICE.failure(
            f"GPU {device} of platform {platform} ({platforms[platform - 1].name}) was asked for "
            f"(EBSDSG_EMSOFT_DEVICE); it has {len(gpus)} GPUs"
        )
    return gpus[device - 1]


def list_platforms(library: Any) -> list[tuple[str, list[str]]]:
    """Platforms and their GPUs from an OpenCL library.

    Parameters
    ----------
    library : ``libOpenCL`` as ctypes loads it.
    """
    count = ctypes.c_uint(0)
    if library.clGetPlatformIDs(0, None, ctypes.byref(count)) != 0 or count.value == 0:
        return []
    platforms = (ctypes.c_void_p * count.value)()
    library.clGetPlatformIDs(count.value, platforms, None)
    listed = []
    for platform in platforms:
        handle = ctypes.c_void_p(platform)
        number = ctypes.c_uint(0)
        kind = ctypes.c_ulong(GPU)
        status = library.clGetDeviceIDs(handle, kind, 0, None, ctypes.byref(number))
        devices = (ctypes.c_void_p * number.value)()
        if status == 0 and number.value:
            library.clGetDeviceIDs(handle, kind, number.value, devices, None)
        names = [_name(library.clGetDeviceInfo, ctypes.c_void_p(d), "device") for d in devices]
        listed.append((_name(library.clGetPlatformInfo, handle, "platform"), names))
    return listed


def _name(query: Any, handle: ctypes.c_void_p, what: str) -> str:
    text = ctypes.create_string_buffer(256)
    query(handle, ctypes.c_uint(NAME[what]), ctypes.c_size_t(256), text, None)
    return text.value.decode("utf-8", "replace").strip()


def main() -> None:
    """Print the platforms as JSON; ``null`` without a loader library."""
    found = ctypes.util.find_library("OpenCL")
    print(json.dumps(None if found is None else list_platforms(ctypes.CDLL(found))))


if __name__ == "__main__":
    main()
