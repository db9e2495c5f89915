"""Environment variables that look like settings and are none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING

from ebsdsg_flows.doctor.findings import Finding

if TYPE_CHECKING:
    from ebsdsg_flows.settings import Settings

PREFIX = "EBSDSG_"
NO_SETTINGS = ("CONFIG_FILE", "DEBUG", "SHARED", "WRITE_TUTORIAL")
"""Variables beside the settings: the settings file, tracebacks, and two of the tests."""


def check_variables(settings: Settings) -> Iterator[Finding]:
    """Every variable ``EBSDSG_*`` is one that is read; values are not shown."""
    fields = [name.upper() for name in type(settings).model_fields]
    for variable in sorted(os.environ):
        name = variable.upper().removeprefix(PREFIX)
        if not variable.upper().startswith(PREFIX) or name in (*fields, *NO_SETTINGS):
            continue
        near = get_close_matches(name, fields, n=1)
        meant = f"did you mean {PREFIX}{near[0]}? else unset it" if near else "correct or unset it"
        yield Finding("settings", "warning", f"{variable} is not a setting: it is ignored", meant)
