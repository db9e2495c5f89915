"""Files that the lines of a table name, found among the files that are given."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ebsdsg_ml.experimental.scan import PatternFileError


class TableFiles:
    """Names of files in a table: ``p.png``, or with as many folders as tell two of them apart.

    Parameters
    ----------
    table : the table, for messages.
    names : of files, as its lines have them.
    """

    def __init__(self, table: Path, names: Iterable[str]) -> None:
        self.table = table
        self.names = {Path(name).parts: name for name in names}
        self._file: dict[str, tuple[Path, str]] = {}

    def name_of(self, path: str | Path, sha256: str = "") -> str | None:
        """The longest name that the file's path ends with, None if there is none.

        Parameters
        ----------
        path : of the file.
        sha256 : its digest, where two files may once have had one path.

        Raises
        ------
        PatternFileError
            If the name was found for another file before: it does not say which is meant.
        """
        parts = Path(path).absolute().parts
        tails = (self.names.get(parts[start:]) for start in range(len(parts)))
        name = next((tail for tail in tails if tail is not None), None)
        if name is None:
            return None
        file = (Path(path).absolute(), sha256)
        other = self._file.setdefault(name, file)
        if other != file:
            raise PatternFileError(
                f"{self.table}: {name} is {other[0]} and {file[0]}: name them with their folders"
            )
        return name
