"""Where structures come from: a CIF file, a folder of them, JSON lines, or the packaged demo set.

Every source gives the same items: identifier, structure, origin and licence.  A bad entry of a
folder or of JSON lines is reported with its reason and the others go on; a single bad file is an
error.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from ebsdsg_flows.atoms import StructureError, atoms_of

if TYPE_CHECKING:
    from pymatgen.core import Structure

DEMO = "demo"
DEMO_FILE = "demo_structures.jsonl"
CIF_LICENCE = "not stated in the file"


class SourceError(ValueError):
    """A source does not exist, is of no known kind, or holds no usable structure."""


@dataclass(frozen=True)
class SourceItem:
    """One structure of a source.

    Parameters
    ----------
    material_id : identifier, unique within the source
    structure : pymatgen structure as the source gives it
    source : ``kind``, ``identifier`` and ``reference`` of its origin
    licence : on what terms
    space_group, volume : what the source says about the conventional cell [Å^3], if it does
    """

    material_id: str
    structure: Structure
    source: dict[str, str]
    licence: str
    space_group: int | None = field(default=None, compare=False)
    volume: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Refused:
    """An entry of a source that cannot be used, and why."""

    material_id: str
    reason: str


class Query(Protocol):
    """What `read_sources` needs to know; ``ebsdsg_flows.campaign.StructureQuery`` is one."""

    @property
    def source(self) -> str:
        """``demo`` or a path."""

    @property
    def groups(self) -> tuple[int, ...]:
        """True space groups kept; empty keeps all."""

    @property
    def materials(self) -> tuple[str, ...]:
        """Identifiers kept; empty keeps all."""

    @property
    def max_volume(self) -> Mapping[int, float]:
        """Largest conventional cell by space group [Å^3]."""

    @property
    def symprec(self) -> float:
        """Tolerance of the symmetry search [Å]."""


def read_sources(
    query: Query, *, strict: bool = False
) -> tuple[list[SourceItem], tuple[tuple[str, str], ...]]:
    """All items of a source that a query keeps.

    Parameters
    ----------
    query : source, and which of its structures are wanted
    strict : a bad entry is an error

    Returns
    -------
    items : in the order of the source
    refused : identifier and reason of each bad entry

    Raises
    ------
    SourceError
        If the source does not exist, nothing in it can be used, or an identifier of
        ``query.materials`` is not in it.
    StructureError
        If the source is a single CIF file and bad, or in strict mode any entry is.
    """
    wanted = set(query.materials)
    items: list[SourceItem] = []
    refused: list[tuple[str, str]] = []
    seen: set[str] = set()
    for entry in iterate(query.source, strict=strict):
        seen.add(entry.material_id)
        if wanted and entry.material_id not in wanted:
            continue
        if isinstance(entry, Refused):
            refused.append((entry.material_id, entry.reason))
            continue
        try:
            if _is_wanted(entry, query):
                items.append(entry)
        except StructureError as error:
            if strict:
                raise
            refused.append((entry.material_id, str(error)))
    if missing := sorted(wanted - seen):
        raise SourceError(f"{query.source} has no structure {', '.join(missing)}")
    if not items and refused:
        raise SourceError(
            f"{query.source} holds no usable structure; the first of {len(refused)} reasons: "
            f"{refused[0][1]}"
        )
    if not items:
        raise SourceError(f"{query.source} holds no structure that the query keeps")
    return items, tuple(refused)


def iterate(source: str | Path, *, strict: bool = False) -> Iterator[SourceItem | Refused]:
    """Entries of a source, one at a time, checked but not standardised.

    Parameters
    ----------
    source : ``demo``, a ``.cif`` file, a folder (searched for ``.cif`` files, not below), or a
        ``.jsonl`` or ``.jsonl.gz`` file with ``material_id`` and ``structure`` in each line
    strict : raise on the first bad entry

    Raises
    ------
    SourceError
        If the source does not exist or is of no known kind.
    StructureError
        For a bad single CIF file, and in strict mode for any bad entry.
    """
    if str(source) == DEMO:
        with demo_file().open("r", encoding="utf-8") as stream:
            yield from _json_lines(stream, DEMO, strict, kind="demo")
        return
    path = Path(source)
    name = path.name.lower()
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder; the packaged structures are `{DEMO}`")
    if path.is_dir():
        yield from _folder(path, strict)
    elif name.endswith(".cif"):
        yield _cif(path)
    elif name.endswith((".jsonl", ".jsonl.gz")):
        try:
            with (
                gzip.open(path, "rt", encoding="utf-8")
                if name.endswith(".gz")
                else path.open("r", encoding="utf-8") as lines
            ):
                yield from _json_lines(lines, path.name, strict, kind="jsonl")
        except (EOFError, gzip.BadGzipFile, UnicodeDecodeError) as error:
            raise SourceError(f"{path}: not readable to its end ({error})") from None
    else:
        raise SourceError(f"{path}: give a .cif, a folder of them, .jsonl, .jsonl.gz, or `{DEMO}`")


def demo_file() -> Any:
    """The packaged demo structures, as a traversable resource."""
    return resources.files("ebsdsg_flows").joinpath("data", DEMO_FILE)


def _folder(path: Path, strict: bool) -> Iterator[SourceItem | Refused]:
    files = sorted(p for p in path.iterdir() if p.suffix.lower() == ".cif")
    if not files:
        raise SourceError(f"{path}: a folder without .cif files")
    for file in files:
        try:
            yield _cif(file)
        except StructureError as error:
            if strict:
                raise
            yield Refused(file.name, str(error))


def _cif(path: Path) -> SourceItem:
    from ebsdsg_flows.cif import read_cif

    found = read_cif(path)
    return SourceItem(
        material_id=found.identifier,
        structure=found.structure,
        source=found.source.model_dump(),
        licence=CIF_LICENCE,
    )


def _json_lines(
    lines: IO[str], name: str, strict: bool, *, kind: str
) -> Iterator[SourceItem | Refused]:
    """Items of JSON lines; an identifier may come once only."""
    seen: set[str] = set()
    for i, line in enumerate(lines, 1):
        if not line.strip():
            continue
        identifier = f"{name} line {i}"
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise StructureError(f"{identifier}: must be a JSON object")
            given = row.get("material_id")
            if not isinstance(given, str) or not given:
                raise StructureError(f"{identifier}: has no material_id")
            identifier = given
            if identifier in seen:
                raise StructureError(f"{identifier}: is given twice in {name}")
            seen.add(identifier)
            yield _row(row, identifier, name, kind)
        except json.JSONDecodeError as error:
            if strict:
                raise StructureError(f"{identifier}: not JSON ({error})") from None
            yield Refused(identifier, f"{identifier}: not JSON ({error})")
        except StructureError as error:
            if strict:
                raise
            yield Refused(identifier, str(error))


def _row(row: Mapping[str, Any], identifier: str, name: str, kind: str) -> SourceItem:
    from pymatgen.core import Structure

    if "structure" not in row:
        raise StructureError(f"{identifier}: has no structure")
    atoms_of(row["structure"], identifier)
    group, volume = row.get("spacegroup_number"), row.get("volume_conventional")
    return SourceItem(
        material_id=identifier,
        structure=Structure.from_dict(row["structure"]),
        source={
            "kind": kind,
            "identifier": identifier,
            "reference": str(row.get("source") or name),
        },
        licence=str(row.get("licence") or "unknown"),
        space_group=int(group) if group is not None else None,
        volume=float(volume) if volume is not None else None,
    )


def space_group_of(item: SourceItem, symprec: float) -> int:
    """True space group of an item: what its source says, else what its atoms have.

    Parameters
    ----------
    item : entry of a source
    symprec : tolerance of the symmetry search [Å]

    Raises
    ------
    StructureError
        If the structure cannot be used.
    """
    if item.space_group is not None:
        return item.space_group
    from ebsdsg_flows.structures import structure_document

    return structure_document(item.structure, item.material_id, symprec=symprec).space_group.number


def _is_wanted(item: SourceItem, query: Query) -> bool:
    """Whether group and volume pass; both are computed where the source does not give them."""
    if not query.groups and not query.max_volume:
        return True
    group, volume = item.space_group, item.volume
    if group is None or (volume is None and group in query.max_volume):
        from ebsdsg_flows.structures import structure_document

        document = structure_document(item.structure, item.material_id, symprec=query.symprec)
        group, volume = document.space_group.number, document.volume_conventional
    if query.groups and group not in query.groups:
        return False
    limit = query.max_volume.get(group)
    return limit is None or (volume is not None and volume < limit)
