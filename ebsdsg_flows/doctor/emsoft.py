"""EMsoft: its folder and its programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ebsdsg_flows.doctor.findings import Finding

if TYPE_CHECKING:
    from ebsdsg_flows.engines.emsoft.configuration import Installation
    from ebsdsg_flows.settings import Settings

PROGRAMS = ("EMmkxtal", "EMMCOpenCL", "EMEBSDmaster")


def is_set_up(settings: Settings) -> bool:
    """Whether anything says that EMsoft is on this machine."""
    import os

    from ebsdsg_flows.engines.emsoft.configuration import own_configuration

    named = settings.emsoft_path is not None or bool(os.environ.get("EMSOFTPATHNAME"))
    return named or own_configuration() is not None


def check_emsoft(settings: Settings) -> Iterator[Finding]:
    """The installation that the engine would use is whole."""
    from ebsdsg_flows.engines.base import EngineFailure
    from ebsdsg_flows.engines.emsoft.configuration import Installation

    if not is_set_up(settings):
        text = "not set up; only campaigns with `engine: emsoft` need it"
        yield Finding("EMsoft", "absent", text)
        return
    try:
        installation = Installation.find(settings)
    except EngineFailure as failure:
        mend = "set EBSDSG_EMSOFT_PATH to EMsoft's folder, with opencl and resources in it"
        yield Finding("EMsoft", "fault", failure.message, mend)
        return
    missing = [name for name in PROGRAMS if not _there(installation, name)]
    if missing:
        yield Finding(
            "EMsoft",
            "fault",
            f"{', '.join(missing)} not found in {installation.programs or 'its bin'} or on PATH",
            "set EBSDSG_EMSOFT_BIN to the folder of EMsoft's programs, and make them executable",
        )
    else:
        yield Finding("EMsoft", "ok", f"{installation.folder}, {len(PROGRAMS)} programs")


def _there(installation: Installation, program: str) -> bool:
    from ebsdsg_flows.engines.base import EngineFailure

    try:
        installation.program(program)
    except EngineFailure:
        return False
    return True
