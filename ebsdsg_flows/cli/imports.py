"""The command ``import``: entries of the Materials Project, of files or of a store."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ebsdsg_flows.imports import ImportDisplay
    from stores.documents import ImportDocument


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("import")(import_entries)


def import_entries(
    source: Annotated[
        str,
        typer.Argument(
            help="Campaign file (its structures are imported), CIF file, folder of them, JSON "
            "lines, or description of a maggma store (YAML, JSON)."
        ),
    ],
    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume/--afresh",
            help="Insist on going on with an import that stopped, or start it again; without "
            "either, what can be resumed is.",
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take entries that another source gave before.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    """Import structures; only what is new or changed is fetched and written."""
    from ebsdsg_flows.imports import ImportDisplay, summary
    from stores.states import State

    # a queue's SIGTERM ends an import as Ctrl-C does: recorded as it stands
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ImportDisplay(quiet=quiet) as display:
        document = _import(source, display, resume=resume, replace=replace)
    print(summary(document))
    raise typer.Exit(0 if document.state is State.COMPLETED else 1)


def _import(
    source: str, display: ImportDisplay, *, resume: bool | None, replace: bool
) -> ImportDocument:
    """Import what a campaign file or a source names."""
    from ebsdsg_flows.campaign import load_campaign
    from ebsdsg_flows.imports import (
        ImportFailed,
        MaterialsProject,
        import_materials_project,
        import_source,
    )
    from ebsdsg_flows.session import open_stores
    from ebsdsg_flows.settings import get_settings
    from ebsdsg_flows.sources import IMPORTED, MATERIALS_PROJECT
    from ebsdsg_flows.sources.maggma_store import SUFFIXES, is_store_file

    path = Path(source)
    query = None
    if path.is_file() and path.name.lower().endswith(SUFFIXES) and not is_store_file(path):
        query = load_campaign(path).structures
        source = query.source
    if source == IMPORTED or (source == MATERIALS_PROJECT and query is None):
        raise ImportFailed(
            "which structures? give a campaign file with `structures: {source: materials_project, "
            "groups: […], max_volume: {…}}`, or a file, a folder or a store"
        )
    if source == MATERIALS_PROJECT and query is not None:
        client = MaterialsProject.from_settings(get_settings(), report=display.say)
        return import_materials_project(
            open_stores(), query, client, resume=resume, replace=replace, display=display
        )
    return import_source(
        open_stores(), source, limits=query, resume=resume, replace=replace, display=display
    )
