"""``ebsdsg web``: the pages, for a browser."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(web)


def web(
    host: Annotated[
        str, typer.Option(help="Address; another than this machine's needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port.")] = 8765,
    root_path: Annotated[str, typer.Option(help="Path under which a proxy shows it.")] = "",
    proxy: Annotated[
        str | None,
        typer.Option(help="Address of a reverse proxy whose X-Forwarded headers are believed."),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="Name under which a proxy is reached; repeatable.")
    ] = None,
) -> None:
    """Show campaigns, structures and results in a browser, read-only without a token."""
    from ebsdsg_flows.web.serve import serve

    serve(host, port, root_path=root_path, proxy=proxy, names=tuple(name or ()))
