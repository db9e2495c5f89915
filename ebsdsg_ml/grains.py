"""Which of the patterns to be answered show one grain."""

from __future__ import annotations

import csv
from pathlib import Path

from ebsdsg_ml.experimental.scan import PatternFileError
from ebsdsg_ml.experimental.table_files import TableFiles


class PredictionError(ValueError):
    """Patterns cannot be pooled as asked for; the message says why."""


class Grains:
    """Patterns of one grain: all, those of a file, or those that a table puts together.

    A pattern of an imported set belongs to the file that it was imported from, and has the number
    that it has there.

    Parameters
    ----------
    grain : ``"all"``, ``"file"``, or a CSV table with columns ``file``, ``grain`` and, for files of
        several patterns, ``number``.

    Raises
    ------
    PredictionError
        If the table cannot be read, or two of its lines contradict each other.
    """

    def __init__(self, grain: str | Path) -> None:
        self.kind = str(grain)
        self.table = Path(self.kind)
        self.lines = {} if self.kind in ("all", "file") else _read(self.table)
        try:
            self.files = TableFiles(self.table, dict.fromkeys(name for name, _ in self.lines))
        except PatternFileError as error:
            raise PredictionError(str(error)) from None

    def of(self, path: str | Path, sha256: str, number: int) -> tuple[str, str]:
        """Key and name of a pattern's grain.

        Parameters
        ----------
        path, sha256 : of the file that the pattern comes from.
        number : of the pattern in it.

        Raises
        ------
        PredictionError
            If the table does not name the pattern, or has one name for two files.
        """
        path = Path(path)
        if self.kind == "all":
            return "", "all patterns"
        if self.kind == "file":
            return f"{path.absolute()} {sha256}", path.name
        named = self.files.names_of(path, sha256)
        for name, place in ((name, place) for name in named for place in (number, None)):
            if grain := self.lines.get((name, place)):
                try:
                    self.files.claim(name, path, sha256)
                except PatternFileError as error:
                    raise PredictionError(str(error)) from None
                return grain, f"grain {grain}"
        elsewhere = "" if named else self.files.elsewhere(path)
        raise PredictionError(
            f"the table of grains {self.table} does not name {path.name} (pattern {number})"
            + (f": {elsewhere}" if elsewhere else "")
        )


def _read(path: Path) -> dict[tuple[str, int | None], str]:
    """Grain of every pattern that a table names, by file and number."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise PredictionError(
            f"grain = {path}: neither 'all' nor 'file', nor a table that can be read: {error}"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise PredictionError(f"{path} is not a readable CSV table: {error}") from None
    lines: dict[tuple[str, int | None], str] = {}
    for line, row in enumerate(rows, start=2):
        try:
            number = int(row["number"]) if row.get("number") else None
            key, grain = (str(Path(row["file"])), number), (row["grain"] or "").strip()
        except (KeyError, ValueError, TypeError) as error:
            raise PredictionError(
                f"{path} is no table of grains: columns file, grain (and number) are needed; "
                f"line {line}: {error}"
            ) from error
        if not row["file"].strip() or not grain:
            raise PredictionError(f"{path}, line {line}: give a file and its grain")
        if lines.setdefault(key, grain) != grain:
            raise PredictionError(
                f"{path}, line {line}: {row['file']} is of grain {grain} here and of "
                f"{lines[key]} above: give the number of the pattern where they are two"
            )
    return lines
