"""All checks, in the order in which they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebsdsg_flows.doctor.accelerators import check_gpu, check_opencl
from ebsdsg_flows.doctor.database import check_database
from ebsdsg_flows.doctor.emsoft import check_emsoft
from ebsdsg_flows.doctor.findings import TIMEOUT, Check, Finding, examine
from ebsdsg_flows.doctor.fireworks import check_fireworks
from ebsdsg_flows.doctor.machine import check_disk, check_versions
from ebsdsg_flows.doctor.materials_project import check_key
from ebsdsg_flows.doctor.queue import check_queue
from ebsdsg_flows.doctor.variables import check_variables
from ebsdsg_flows.settings import SettingsError, load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

CHECKS: Sequence[tuple[str, Check]] = (
    ("settings", check_variables),
    ("versions", check_versions),
    ("disk", check_disk),
    ("database", check_database),
    ("FireWorks", check_fireworks),
    ("queue", check_queue),
    ("EMsoft", check_emsoft),
    ("OpenCL", check_opencl),
    ("GPU", check_gpu),
    ("Materials Project", check_key),
)


def diagnose(timeout: float = TIMEOUT) -> list[Finding]:
    """Check the set-up of this machine and user.

    Parameters
    ----------
    timeout : seconds after which a check that has not answered is given up.
    """
    try:
        settings = load_settings()
    except SettingsError as error:
        return [Finding("settings", "fault", str(error), "correct or remove it")]
    readable = Finding("settings", "ok", f"data root {settings.root}")
    return [readable, *examine(settings, CHECKS, timeout)]
