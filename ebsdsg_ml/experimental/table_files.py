"""Files that the lines of a table name, found among the files that are given."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ebsdsg_ml.experimental.scan import PatternFileError


class TableFiles:
    """Names of files in a table: ``p.png``, or with as many folders as tell two of them apart.

    A name may also be absolute or relative to the table's folder (``../data/p.png``).  A name
    whose folders are none of these is of a file that lay elsewhere: the name alone is enough as
    long as neither the table nor the files that are given have it twice.

    Parameters
    ----------
    table : the table, for messages and relative names.
    names : of files, as its lines have them.
    files : that are given, as far as they are known beforehand.

    Raises
    ------
    PatternFileError
        If one file has two names.
    """

    def __init__(self, table: Path, names: Iterable[str], files: Iterable[Path] = ()) -> None:
        self.table = table
        self.names: dict[tuple[str, ...], str] = {}
        self._called: dict[str, list[str]] = {}
        for name in names:
            path = _absolute(table.parent / name) if ".." in Path(name).parts else Path(name)
            other = self.names.setdefault(path.parts, name)
            if other != name:
                raise PatternFileError(f"{table}: {other} and {name} are one file: name it alike")
            self._called.setdefault(path.name, []).append(name)
        self._given: dict[str, set[tuple[Path, str]]] = {}
        for file in map(_absolute, files):
            self._given.setdefault(file.name, set()).add((file, ""))
        self._file: dict[str, tuple[Path, str]] = {}

    def names_of(self, path: str | Path, sha256: str = "") -> list[str]:
        """Names that a file has in the table, the most particular first.

        Parameters
        ----------
        path : of the file.
        sha256 : its digest, where two files may once have had one path.
        """
        file = _absolute(path)
        alike = self._given.setdefault(file.name, set())
        alike.add((file, sha256))
        if fitting := self._fitting(file):
            return fitting
        called = self._called.get(file.name, [])
        if len(called) > 1 or len(alike) > 1:
            return []
        # where both are there they are two files
        there = file.is_file() and any((self.table.parent / name).is_file() for name in called)
        return [] if there else called

    def claim(self, name: str, path: str | Path, sha256: str = "") -> None:
        """Say that a name is that of a file.

        Parameters
        ----------
        name : one of `names_of` the file.
        path, sha256 : of the file.

        Raises
        ------
        PatternFileError
            If the name was found for another file before: it does not say which is meant.
        """
        file = (_absolute(path), sha256)
        other = self._file.setdefault(name, file)
        if other != file:
            raise PatternFileError(
                f"{self.table}: {name} is {other[0]} and {file[0]}: name them with their folders"
            )

    def fits(self, name: str, path: str | Path) -> bool:
        """Whether the folders of a name are those of a file, not its name alone."""
        return name in self._fitting(_absolute(path))

    def elsewhere(self, path: str | Path) -> str:
        """What the table says of files of the same name in other folders; empty if nothing.

        Parameters
        ----------
        path : of a file that it does not name.
        """
        file = _absolute(path)
        folders = [str(Path(name).parent) for name in self._called.get(file.name, [])]
        if not folders:
            return ""
        return f"{file.name} is in {file.parent}, and the table has it in {', '.join(folders)}"

    def _fitting(self, file: Path) -> list[str]:
        """Names that the path ends with, the longest first."""
        tails = (self.names.get(file.parts[start:]) for start in range(len(file.parts)))
        return [name for name in tails if name is not None]


def _absolute(path: str | Path) -> Path:
    """Absolute path without ``..``; links are not followed."""
    return Path(os.path.normpath(Path(path).absolute()))
