"""All items of a source that a query keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.atoms import StructureError
from ebsdsg_flows.sources.files import cif_item, demo_items, folder_items, json_lines_items
from ebsdsg_flows.sources.items import (
    DEMO,
    NAMED,
    Outside,
    Query,
    Refused,
    SourceError,
    SourceItem,
    Wanted,
    every_entry,
    passes,
    wanted_by,
)

if TYPE_CHECKING:
    from maggma.core import Store

    from stores.collections import Stores


def read_sources(
    query: Query, stores: Stores | None = None, *, strict: bool = False
) -> tuple[list[SourceItem], tuple[tuple[str, str], ...]]:
    """All items of a source that a query keeps.

    Parameters
    ----------
    query : source, and which of its structures are wanted
    stores : open database, which holds what was imported; needed for ``materials_project`` and
        ``imported`` only
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
    for entry in _entries(query, stores, strict):
        seen.add(entry.material_id)
        if isinstance(entry, Outside) or (wanted and entry.material_id not in wanted):
            continue
        if isinstance(entry, Refused):
            refused.append((entry.material_id, entry.reason))
            continue
        try:
            if is_wanted(entry, query):
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


def iterate(
    source: str | Path | Store, *, strict: bool = False, wanted: Wanted = every_entry
) -> Iterator[SourceItem | Refused | Outside]:
    """Entries of a source, one at a time, checked but not standardised.

    Parameters
    ----------
    source : ``demo``, a ``.cif`` file, a folder (searched for ``.cif`` files, not below), a
        ``.jsonl`` or ``.jsonl.gz`` file with ``material_id`` and ``structure`` in each line, a
        ``.yaml`` or ``.json`` file that describes a maggma store, or such a store itself
    strict : raise on the first bad entry
    wanted : entries of JSON lines and of stores that it refuses come as ``Outside``, without a look
        at their structure; CIF files state nothing by which they could be refused

    Raises
    ------
    SourceError
        If the source does not exist or is of no known kind.
    StructureError
        For a bad single CIF file, and in strict mode for any bad entry.
    """
    if not isinstance(source, str | Path):
        from ebsdsg_flows.sources.maggma_store import store_items

        yield from store_items(source, strict=strict, wanted=wanted)
        return
    if str(source) == DEMO:
        yield from demo_items(strict=strict, wanted=wanted)
        return
    path = Path(source)
    name = path.name.lower()
    if not path.exists():
        raise SourceError(
            f"{path}: no such file or folder; sources with a name are {', '.join(sorted(NAMED))}"
        )
    if path.is_dir():
        yield from folder_items(path, strict=strict)
    elif name.endswith(".cif"):
        yield cif_item(path)
    elif name.endswith((".jsonl", ".jsonl.gz")):
        yield from json_lines_items(path, strict=strict, wanted=wanted)
    elif name.endswith((".yaml", ".yml", ".json")):
        from ebsdsg_flows.sources.maggma_store import described_store, store_items

        yield from store_items(described_store(path), strict=strict, wanted=wanted)
    else:
        raise SourceError(
            f"{path}: give a .cif, a folder of them, .jsonl, .jsonl.gz, a .yaml or .json that "
            f"describes a maggma store, or one of {', '.join(sorted(NAMED))}"
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
    return int(_document(item, symprec).space_group.number)


def is_wanted(item: SourceItem, query: Query) -> bool:
    """Whether group and volume pass; both are computed where the source does not give them."""
    if not query.groups and not query.max_volume:
        return True
    group, volume = item.space_group, item.volume
    if group is None or (volume is None and group in query.max_volume):
        document = _document(item, query.symprec)
        group, volume = document.space_group.number, document.volume_conventional
    return bool(passes(query, group, volume))


def _entries(
    query: Query, stores: Stores | None, strict: bool
) -> Iterator[SourceItem | Refused | Outside]:
    if query.source == DEMO or query.source not in NAMED:
        return iterate(query.source, strict=strict, wanted=wanted_by(query))
    if stores is None:
        raise SourceError(f"the source {query.source!r} is read from the database: none is open")
    from ebsdsg_flows.sources.collected import collected_items

    return collected_items(query, stores)


def _document(item: SourceItem, symprec: float) -> Any:
    from ebsdsg_flows.structures import structure_document

    return structure_document(item.structure, item.material_id, symprec=symprec)
