"""``ebsdsg db``: the database of this data root."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The embedded database of the data root.", no_args_is_help=True)


@app.command()
def start() -> None:
    """Start the embedded database (other commands do so themselves) and print its address."""
    from ebsdsg_flows.settings import get_settings
    from stores.embedded import ensure_running

    print(ensure_running(get_settings().root))


@app.command()
def stop() -> None:
    """Stop the embedded database; what it holds stays on disk."""
    from ebsdsg_flows.settings import get_settings
    from stores.embedded import stop as stop_server

    root = get_settings().root
    print(f"stopped the database of {root}" if stop_server(root) else f"no database runs in {root}")


@app.command()
def status() -> None:
    """Say where the database is and what it holds."""
    from ebsdsg_flows.session import open_stores
    from stores.documents import DOCUMENTS

    stores = open_stores()
    print(stores)
    for kind in DOCUMENTS:
        count = stores.collection(kind).estimated_document_count()
        print(f"  {kind.collection:18} {count:>8} documents")


@app.command()
def launchpad(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("my_launchpad.yaml"),
) -> None:
    """Write a FireWorks launchpad file that works from any directory."""
    from ebsdsg_flows.session import open_stores

    stores = open_stores()
    stores.launchpad().to_file(str(path))
    path.chmod(0o600)
    print(f"wrote {path} (readable by you only, because it may hold a password)")
