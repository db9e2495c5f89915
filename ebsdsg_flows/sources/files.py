"""Structures in files: one CIF, a folder of them, JSON lines, or the packaged demo set."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import IO, Any

from ebsdsg_flows.atoms import StructureError
from ebsdsg_flows.sources.items import (
    DEMO,
    Outside,
    Refused,
    SourceError,
    SourceItem,
    Wanted,
    every_entry,
    item_of_row,
)

DEMO_FILE = "demo_structures.jsonl"
CIF_LICENCE = "not stated in the file"


def demo_file() -> Any:
    """The packaged demo structures, as a traversable resource."""
    return resources.files("ebsdsg_flows").joinpath("data", DEMO_FILE)


def demo_items(
    *, strict: bool, wanted: Wanted = every_entry
) -> Iterator[SourceItem | Refused | Outside]:
    """Entries of the packaged set; `wanted` as in :func:`json_lines_items`."""
    with demo_file().open("r", encoding="utf-8") as stream:
        yield from _rows(stream, DEMO, strict, wanted, kind="demo")


def folder_items(path: Path, *, strict: bool) -> Iterator[SourceItem | Refused]:
    """Structures of the ``.cif`` files of a folder, in the order of their names.

    Raises
    ------
    SourceError
        If there are none.
    StructureError
        In strict mode, for the first bad file.
    """
    files = sorted(p for p in path.iterdir() if p.suffix.lower() == ".cif")
    if not files:
        raise SourceError(f"{path}: a folder without .cif files")
    for file in files:
        try:
            yield cif_item(file)
        except StructureError as error:
            if strict:
                raise
            yield Refused(file.name, str(error))


def cif_item(path: Path) -> SourceItem:
    """Structure of one CIF file.

    Raises
    ------
    StructureError
        If it cannot be used.
    """
    from ebsdsg_flows.cif import read_cif

    found = read_cif(path)
    return SourceItem(
        material_id=found.identifier,
        values=found.structure.as_dict(),
        source=found.source.model_dump(),
        licence=CIF_LICENCE,
    )


def json_lines_items(
    path: Path, *, strict: bool, wanted: Wanted = every_entry
) -> Iterator[SourceItem | Refused | Outside]:
    """Entries of a ``.jsonl`` or ``.jsonl.gz`` file, in its order.

    Parameters
    ----------
    path : of the file
    strict : raise on the first bad entry
    wanted : the structures of rows that it refuses are not looked at

    Raises
    ------
    SourceError
        If it cannot be read to its end.
    StructureError
        In strict mode, for the first bad entry.
    """
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.name.lower().endswith(".gz")
            else path.open("r", encoding="utf-8") as lines
        ):
            yield from _rows(lines, path.name, strict, wanted, kind="jsonl")
    except (EOFError, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: not readable to its end ({error})") from None


def _rows(
    lines: IO[str], name: str, strict: bool, wanted: Wanted, *, kind: str
) -> Iterator[SourceItem | Refused | Outside]:
    """Items of JSON lines; an identifier may come once only."""
    seen: set[str] = set()
    for i, line in enumerate(lines, 1):
        if not line.strip():
            continue
        label = f"{name} line {i}"
        try:
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(given := row.get("material_id"), str):
                label = given or label
                if given in seen:
                    raise StructureError(f"{given}: is given twice in {name}")
                seen.add(given)
            yield item_of_row(row, name, kind=kind, label=label, wanted=wanted)
        except json.JSONDecodeError as error:
            if strict:
                raise StructureError(f"{label}: not JSON ({error})") from None
            yield Refused(label, f"{label}: not JSON ({error})")
        except StructureError as error:
            if strict:
                raise
            yield Refused(label, str(error))
