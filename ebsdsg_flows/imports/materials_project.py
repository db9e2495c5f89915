"""An import from the Materials Project: list, compare, fetch what is new, ask for what is gone.

Every step is saved, so an import goes on where it stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebsdsg_flows.imports.attempt import Attempt, ServerGone
from ebsdsg_flows.imports.display import ImportDisplay
from ebsdsg_flows.imports.errors import Rejected
from ebsdsg_flows.imports.fetching import Entries
from ebsdsg_flows.imports.lists import Lists
from ebsdsg_flows.imports.record import begin
from ebsdsg_flows.imports.summary_rows import KIND
from stores.documents import ImportDocument, Missing

if TYPE_CHECKING:
    from ebsdsg_flows.campaign import StructureQuery
    from ebsdsg_flows.imports.client import MaterialsProject
    from stores.collections import Stores


def import_materials_project(
    stores: Stores,
    query: StructureQuery,
    client: MaterialsProject,
    *,
    resume: bool | None = None,
    replace: bool = False,
    display: ImportDisplay | None = None,
    page_size: int = 1000,
    batch_size: int = 100,
) -> ImportDocument:
    """Bring the entries of the Materials Project that a query asks for into the database.

    Parameters
    ----------
    stores : open database.
    query : groups, limits on the conventional cell, and identifiers if only some are wanted.
    client : connection.
    resume, replace : see :func:`~ebsdsg_flows.imports.record.begin` and
        :func:`~ebsdsg_flows.imports.entries.write_entries`.
    display : of the progress.
    page_size : entries on a page of a list (the server gives 1000 at most).
    batch_size : structures asked for at once.

    Returns
    -------
    The import's document: completed, or failed with what is missing.

    Raises
    ------
    ImportFailed
        If the same import runs elsewhere, or there is nothing to resume.
    KeyboardInterrupt
        After the import was recorded as it stands.
    """
    question = {
        "groups": sorted(query.groups),
        "materials": sorted(query.materials),
        "max_volume": {str(g): v for g, v in sorted(query.max_volume.items())},
        "include_gnome": query.include_gnome,
        "endpoint": client.endpoint,
        "page_size": page_size,
        "batch_size": batch_size,
    }
    record = begin(stores, KIND, question, resume=resume)
    attempt = Attempt(stores, query, client, record, display or ImportDisplay(quiet=True))
    lists = Lists(attempt, batch_size if query.materials else page_size)
    entries = Entries(attempt, batch_size, replace=replace)

    def missing(reason: str) -> list[Missing]:
        attempt.save()
        return [*lists.missing(reason), *entries.missing(reason)]

    try:
        attempt.agree_on_version()
        lists.read()
        entries.fetch()
    except (ServerGone, Rejected) as error:
        return record.end(missing(str(error)))
    except BaseException as error:
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else repr(error)[:300]
        record.end(missing(reason))
        raise
    return record.end(missing("not reached"))
