"""OpenCL devices for EMsoft's Monte Carlo, and the GPU of torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ebsdsg_flows.doctor.findings import Finding

if TYPE_CHECKING:
    from ebsdsg_flows.settings import Settings

TORCH_SECONDS = 60.0
ASK_TORCH = (
    "import json, sys, torch\n"
    "try:\n"
    "    torch.zeros(8, device=sys.argv[1]).sum().item()\n"
    "    name = torch.cuda.get_device_name(sys.argv[1]) if 'cuda' in sys.argv[1] else sys.argv[1]\n"
    "    print(json.dumps({'name': name}))\n"
    "except Exception as error:\n"
    "    print(json.dumps({'error': str(error).splitlines()[0]}))\n"
)


def check_opencl(settings: Settings) -> Iterator[Finding]:
    """The GPU that EMMCOpenCL would use exists."""
    from ebsdsg_flows.doctor.emsoft import is_set_up
    from ebsdsg_flows.engines.base import EngineFailure
    from ebsdsg_flows.engines.emsoft.opencl import check_device, probe

    if not is_set_up(settings):
        yield Finding("OpenCL", "absent", "only EMsoft's Monte Carlo needs it")
        return
    platforms = probe()
    if platforms is None:
        yield Finding(
            "OpenCL",
            "warning",
            "the OpenCL loader is not where the system looks for libraries, or does not answer",
            "install ocl-icd-libopencl1 and the GPU's driver, or use `monte_carlo: cpu`",
        )
        return
    try:
        name = check_device(platforms, settings.emsoft_platform, settings.emsoft_device)
    except EngineFailure as failure:
        mend = "set EBSDSG_EMSOFT_PLATFORM and EBSDSG_EMSOFT_DEVICE, or use `monte_carlo: cpu`"
        yield Finding("OpenCL", "fault", failure.message, mend)
        return
    yield Finding("OpenCL", "ok", name)


def check_gpu(settings: Settings) -> Iterator[Finding]:
    """Torch can compute on the device of the settings; asked in a process of its own."""
    if settings.device == "cpu":
        yield Finding("GPU", "absent", "not asked for (device: cpu)")
        return
    mend = "set EBSDSG_DEVICE to cpu, or install the driver and a torch for this GPU"
    try:
        asked = subprocess.run(
            [sys.executable, "-c", ASK_TORCH, settings.device],
            capture_output=True,
            text=True,
            timeout=TORCH_SECONDS,
            check=False,
        )
        answer = json.loads(asked.stdout)
    except subprocess.TimeoutExpired:
        text = f"torch does not answer within {TORCH_SECONDS:g} s"
        yield Finding("GPU", "fault", text, mend)
        return
    except ValueError:
        answer = {"error": asked.stderr.strip().splitlines()[-1:] or f"exit {asked.returncode}"}
    if "error" in answer:
        text = f"torch cannot use device {settings.device!r}: {answer['error']}"
        yield Finding("GPU", "fault", text, mend)
    else:
        yield Finding("GPU", "ok", answer["name"])
