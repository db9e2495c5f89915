"""Commands about campaigns: from ``submit`` and ``run`` to ``status``, ``cancel``, ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Workers = Annotated[
    int | None,
    typer.Option("--workers", "-n", min=1, help="Worker processes; default from the settings."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    for command in (demo, submit, run, status, show, pause, resume, cancel, query, report, figures):
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
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Draw again until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.5, help="Seconds between drawings.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per campaign.")] = False,
) -> None:
    """Count what is waiting, running, finished and failed; how fast it goes and when it ends."""
    from ebsdsg_flows.session import open_stores
    from ebsdsg_flows.status import print_status

    print_status(open_stores(), campaign, as_json=as_json, watch=every if watch else None)


def show(material: Annotated[str, typer.Argument(help="Identifier, such as mp-2593.")]) -> None:
    """Tell the whole story of one structure: label, simulations, runs, files, learning."""
    from ebsdsg_flows.session import open_stores
    from ebsdsg_flows.story import structure_story

    print(structure_story(open_stores(), material))


Name = Annotated[str, typer.Argument(help="Name of a campaign.")]


def pause(campaign: Name) -> None:
    """Start nothing more of a campaign; what runs goes on to its end."""
    from ebsdsg_flows.control import pause as pause_campaign
    from ebsdsg_flows.session import open_stores

    print(pause_campaign(open_stores(), campaign))


def resume(campaign: Name) -> None:
    """Go on with a campaign that was paused or cancelled."""
    from ebsdsg_flows.control import resume as resume_campaign
    from ebsdsg_flows.session import open_stores

    print(resume_campaign(open_stores(), campaign))


def cancel(campaign: Name) -> None:
    """Take a campaign out of the queue and stop what runs of it; what is finished stays."""
    from ebsdsg_flows.control import cancel as cancel_campaign
    from ebsdsg_flows.session import open_stores

    print(cancel_campaign(open_stores(), campaign))


def query(
    criteria: Annotated[str, typer.Argument(help="MongoDB query as JSON.")] = "{}",
    collection: Annotated[
        str, typer.Option("--collection", "-c", help="What is searched.")
    ] = "simulations",
    fields: Annotated[
        str, typer.Option("--fields", "-f", help="Fields to show, separated by commas.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, help="At most so many.")] = 20,
) -> None:
    """Query the database, for example: ebsdsg query '{"state": "timed_out"}'."""
    from ebsdsg_flows.session import open_stores
    from ebsdsg_flows.status import print_query

    chosen = [name.strip() for name in fields.split(",") if name.strip()]
    print_query(open_stores(), collection, criteria, chosen, limit)


Subject = Annotated[
    str, typer.Argument(help="Name of a campaign, or key of a training run (its first letters).")
]


def report(
    subject: Subject,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; default: below the data root.")
    ] = None,
) -> None:
    """Write a campaign or a training run as one HTML file that can be mailed."""
    from ebsdsg_flows.report import write_report
    from ebsdsg_flows.session import open_stores

    print(write_report(open_stores(), subject, output))


def figures(
    subject: Subject,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")],
    suffix: Annotated[
        str, typer.Option("--format", "-f", help="svg, png (by a browser), html or json.")
    ] = "svg",
    dark: Annotated[bool, typer.Option("--dark", help="Light text on a dark background.")] = False,
) -> None:
    """Write every figure that the data of a campaign or a training run supports."""
    from ebsdsg_flows.figures.collect import write_figures
    from ebsdsg_flows.session import open_stores

    for path in write_figures(open_stores(), subject, output, suffix, dark=dark):
        print(path)
