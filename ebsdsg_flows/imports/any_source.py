"""An import from files or from a maggma store: every row checked, only changes written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.atoms import StructureError
from ebsdsg_flows.imports.display import ImportDisplay
from ebsdsg_flows.imports.entries import entry_of_item, write_entries
from ebsdsg_flows.imports.record import ImportRecord, begin
from ebsdsg_flows.sources import (
    Limits,
    Outside,
    Refused,
    SourceError,
    SourceItem,
    Wanted,
    every_entry,
    iterate,
    wanted_by,
)
from stores.documents import ImportDocument, Missing, SourceStructureDocument
from stores.redact import redact

if TYPE_CHECKING:
    from maggma.core import Store

    from stores.collections import Stores

BATCH = 500


def import_source(
    stores: Stores,
    source: str | Path | Store,
    *,
    limits: Limits | None = None,
    resume: bool | None = None,
    replace: bool = False,
    display: ImportDisplay | None = None,
) -> ImportDocument:
    """Bring the entries of a file, a folder or a maggma store into the database.

    Parameters
    ----------
    stores : open database.
    source : as for :func:`~ebsdsg_flows.sources.iterate`.
    limits : entries that say themselves that they are outside are left out; those that state
        neither group nor volume are taken, as no symmetry is searched here.
    resume, replace : see :func:`~ebsdsg_flows.imports.record.begin` and
        :func:`~ebsdsg_flows.imports.entries.write_entries`.  All rows are read again; those that
        are held cost next to nothing.
    display : of the progress.

    Returns
    -------
    The import's document.

    Raises
    ------
    SourceError
        If the source does not exist or cannot be read to its end; what was read is kept and the
        import recorded as failed.
    ImportFailed
        If the same import runs elsewhere, or there is nothing to resume.
    """
    name = str(source) if isinstance(source, str | Path) else redact(source.name)
    if isinstance(source, Path) or (isinstance(source, str) and Path(source).exists()):
        name = str(Path(source).resolve())
    query: dict[str, Any] = {}
    if limits is not None:
        query = {
            "groups": sorted(limits.groups),
            "materials": sorted(limits.materials),
            "max_volume": {str(g): v for g, v in sorted(limits.max_volume.items())},
        }
    record = begin(stores, name, query, resume=resume)
    # every row is judged again
    record.document.counts, record.document.refused = {}, []
    display = display or ImportDisplay(quiet=True)
    read = 0
    wanted = every_entry if limits is None else wanted_by(limits)
    try:
        entries = iterate(source, wanted=wanted)
        for read in _import(stores, entries, wanted, replace, record):
            display.show("entries", read)
    except BaseException as error:
        what = "interrupted" if isinstance(error, KeyboardInterrupt) else redact(error)
        reason = f"{what}; {read} entries were read"
        record.end([Missing(what="listing", page=1, reason=reason)])
        raise
    return record.end([])


def _import(
    stores: Stores,
    entries: Iterator[SourceItem | Refused | Outside],
    wanted: Wanted,
    replace: bool,
    record: ImportRecord,
) -> Iterator[int]:
    """Number of entries read so far, after each batch was written."""
    batch: dict[str, SourceStructureDocument] = {}
    read = 0
    for entry in entries:
        read += 1
        if isinstance(entry, Refused):
            record.refuse(entry.material_id, entry.reason)
        elif isinstance(entry, Outside) or not wanted(
            entry.material_id, entry.space_group, entry.volume
        ):
            record.count("outside")
        elif entry.material_id in batch:
            record.refuse(entry.material_id, f"{entry.material_id}: is given twice")
        else:
            try:
                batch[entry.material_id] = entry_of_item(entry)
            except StructureError as error:
                record.refuse(entry.material_id, str(error))
        if len(batch) >= BATCH:
            _write(stores, batch, replace, record)
            yield read
    _write(stores, batch, replace, record)
    if not read:
        raise SourceError("the source holds no entry")
    yield read


def _write(
    stores: Stores,
    batch: dict[str, SourceStructureDocument],
    replace: bool,
    record: ImportRecord,
) -> None:
    results, refused = write_entries(stores, list(batch.values()), replace=replace)
    for result in results.values():
        record.count(result)
    for identifier, reason in refused:
        record.refuse(identifier, reason)
    batch.clear()
    record.save()
