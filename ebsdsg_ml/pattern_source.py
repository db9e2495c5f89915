"""One phase and the master pattern that its patterns come from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class DatasetError(ValueError):
    """A data set or one of its sources is missing, incomplete, changed or of another kind."""


@dataclass(frozen=True)
class PatternSource:
    """One phase and one master pattern of it.

    Parameters
    ----------
    phase : identifier, unique in a data set (one source per set of Debye-Waller factors).
    formula : reduced chemical formula.
    labels : space-group number by kind of label, ``{"true": 221, "relabelled": 225}``; a kind may
        be missing (or None) when the phase has no such label.
    path : master-pattern file.
    sha256 : digest of that file; checked before the file is used.
    prototype : structure prototype, or None when not known.
    debye_waller : lowest and highest Debye-Waller factor B of its atoms [nm^2]; None when not
        known.
    """

    phase: str
    formula: str
    labels: Mapping[str, int | None]
    path: Path
    sha256: str
    prototype: str | None = None
    debye_waller: tuple[float, float] | None = None

    def check_file(self) -> None:
        """Make sure that the master pattern is there and is the recorded one.

        Raises
        ------
        DatasetError
            If it is missing or changed.
        """
        if not Path(self.path).is_file():
            raise DatasetError(f"{self.phase}: master pattern {self.path} does not exist")
        found = file_sha256(self.path)
        if found != self.sha256:
            raise DatasetError(
                f"{self.phase}: master pattern {self.path} has sha256 {found[:12]}…, recorded is "
                f"{self.sha256[:12]}…; the file changed: simulate the phase again"
            )


def file_sha256(path: str | Path) -> str:
    """SHA-256 digest of a file, hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
