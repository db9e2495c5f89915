"""A Fortran namelist, typed: every key is written, and everything is checked before a run.

A key that is left out takes a default that differs between EMsoft's code and its templates, so none
is left out here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

from ebsdsg_flows.engines.emsoft.failures import NAMELIST

LARGEST_INTEGER = 2**31 - 1


@dataclass(frozen=True)
class Namelist:
    """A Fortran namelist; the fields are its keys."""

    group: ClassVar[str]

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str):
                if not value.isascii() or "'" in value or not value or len(value) > 400:
                    self._refuse(field.name, "1 to 400 ASCII characters without quotes")
            elif isinstance(value, int):
                if abs(value) > LARGEST_INTEGER:
                    self._refuse(field.name, f"at most {LARGEST_INTEGER}")
            elif not math.isfinite(value):
                self._refuse(field.name, "a finite number")

    def _refuse(self, name: str, allowed: str) -> None:
        raise NAMELIST.failure(f"&{self.group} {name} = {getattr(self, name)!r}: must be {allowed}")

    def _positive(self, *names: str) -> None:
        for name in names:
            if not getattr(self, name) > 0:
                self._refuse(name, "positive")

    def text(self) -> str:
        """The file's content."""
        lines = [f" {f.name} = {_fortran(getattr(self, f.name))}," for f in fields(self)]
        return "\n".join([f" &{self.group}", *lines, " /", ""])

    def write(self, path: Path) -> None:
        """Write the file; its name must end in ``.nml``, or EMsoft takes it for JSON."""
        if path.suffix != ".nml":
            raise ValueError(f"{path}: the name of a namelist file must end in .nml")
        path.write_text(self.text(), encoding="ascii")


def _fortran(value: str | bool | int | float) -> str:
    if isinstance(value, bool):
        return ".TRUE." if value else ".FALSE."
    return f"'{value}'" if isinstance(value, str) else repr(value)
