"""Commands about campaigns: ``demo``, ``submit``, ``run``, ``status``, ``query``, ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Workers = Annotated[
    int | None, typer.Option("--workers", "-n", help="Worker processes; default from the settings.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    for command in (demo, submit, run, status, query, report):
        app.command()(command)


def demo(workers: Workers = None) -> None:
    """Run the demonstration campaign: structures in, classifier out, on this machine."""
    from ebsdsg_flows.demo import run_demo

    raise typer.Exit(run_demo(workers))


def submit(
    campaign: Annotated[Path, typer.Argument(help="Campaign file (YAML).")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be added.")] = False,
) -> None:
    """Add what is missing of a campaign to the queue of workflows."""
    from ebsdsg_flows.campaign import load_campaign
    from ebsdsg_flows.session import open_stores
    from ebsdsg_flows.submit import plan
    from ebsdsg_flows.submit import submit as submit_campaign

    loaded = load_campaign(campaign)
    stores = open_stores()
    print(plan(loaded, stores) if dry_run else submit_campaign(loaded, stores))


def run(
    workers: Workers = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    """Work on everything that is ready, here, until nothing is left to do."""
    from ebsdsg_flows.run import run_until_idle
    from ebsdsg_flows.session import open_stores

    summary = run_until_idle(open_stores(), workers=workers, quiet=quiet)
    print(summary)
    raise typer.Exit(1 if summary.failed else 0)


def status(
    campaign: Annotated[str | None, typer.Argument(help="Name; default: all campaigns.")] = None,
) -> None:
    """Count what is waiting, running, finished and failed."""
    from ebsdsg_flows.session import open_stores
    from ebsdsg_flows.status import print_status

    print_status(open_stores(), campaign)


def query(
    collection: Annotated[str, typer.Argument(help="Collection, for example simulations.")],
    criteria: Annotated[str, typer.Argument(help="MongoDB query as JSON.")] = "{}",
    fields: Annotated[
        str, typer.Option("--fields", "-f", help="Fields to show, separated by commas.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, help="At most so many.")] = 20,
) -> None:
    """Query the database, for example: ebsdsg query simulations '{"state": "timed_out"}'."""
    from ebsdsg_flows.session import open_stores
    from ebsdsg_flows.status import print_query

    chosen = [name.strip() for name in fields.split(",") if name.strip()]
    print_query(open_stores(), collection, criteria, chosen, limit)


def report(
    campaign: Annotated[str, typer.Argument(help="Name of a campaign.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; default: below the data root.")
    ] = None,
) -> None:
    """Write the static report of a campaign."""
    from ebsdsg_flows.report import write_report
    from ebsdsg_flows.session import open_stores
    from ebsdsg_flows.settings import get_settings

    folder = output or get_settings().root / "reports" / campaign
    print(write_report(open_stores(), campaign, folder))
