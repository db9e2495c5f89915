"""Commands for work on a cluster: ``rlaunch`` in the queue's jobs, ``janitor``, ``doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

launching = typer.Typer(
    help="FireWorks' rlaunch for the jobs of a queue: database from the settings, SIGTERM noticed.",
    no_args_is_help=True,
)
Worker = Annotated[
    Path | None,
    typer.Option("--fworker", "-w", help="Default: my_fworker.yaml beside the data root."),
]
Timeout = Annotated[
    float | None, typer.Option(help="Begin no firework after so many seconds.", min=0)
]
Least = Annotated[
    float, typer.Option(help="Begin none when the queue leaves less than so many seconds.", min=0)
]
Idle = Annotated[
    float, typer.Option(help="Leave after so many seconds in which none was ready.", min=0)
]
Limit = Annotated[int | None, typer.Option("--nlaunches", help="Leave after so many.", min=1)]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command()(janitor)
    app.command()(doctor)
    app.add_typer(launching, name="rlaunch")


@launching.command()
def singleshot(
    fw_id: Annotated[
        int | None, typer.Option("--fw_id", "-f", help="This firework (reservation mode).")
    ] = None,
    fworker: Worker = None,
) -> None:
    """Run one firework here."""
    from ebsdsg_flows.cluster import launch

    launch.singleshot(fw_id, fworker)


@launching.command()
def rapidfire(
    fworker: Worker = None,
    timeout: Timeout = None,
    least: Least = 120.0,
    idle: Idle = 30.0,
    limit: Limit = None,
) -> None:
    """Run fireworks one after the other, until time or work is over."""
    from ebsdsg_flows.cluster import launch

    launch.rapidfire(fworker, timeout=timeout, least=least, idle=idle, limit=limit)


@launching.command()
def multi(
    number: Annotated[int, typer.Argument(min=1, help="Processes at once.")],
    fworker: Worker = None,
    timeout: Timeout = None,
    least: Least = 120.0,
    idle: Idle = 30.0,
) -> None:
    """Run several rapidfire processes at once in one job."""
    from ebsdsg_flows.cluster import launch

    arguments = [f"--least={least:g}", f"--idle={idle:g}"]
    arguments += [] if fworker is None else [f"--fworker={fworker}"]
    arguments += [] if timeout is None else [f"--timeout={timeout:g}"]
    raise typer.Exit(launch.multi(number, arguments))


def janitor(
    service: Annotated[
        bool, typer.Option("--service/--once", help="Go on until ended, or look once.")
    ] = False,
    interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two rounds of the service.")
    ] = 60.0,
    stale: Annotated[
        float, typer.Option(min=1, help="Age of a heartbeat from which a run is suspected [s].")
    ] = 300.0,
) -> None:
    """Find what died without a word; name the reason, and make its work ready again."""
    from datetime import timedelta

    from ebsdsg_flows.cluster.janitor import Janitor, serve
    from ebsdsg_flows.session import open_stores

    stores = open_stores()
    worker = Janitor(stores, stores.launchpad(strm_lvl="ERROR"), stale=timedelta(seconds=stale))
    if not service:
        print(worker.once())
        return
    serve(worker, interval, lambda report: print(report, flush=True) if report else None)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Findings as JSON.")] = False,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds after which a check is given up.")
    ] = 30.0,
) -> None:
    """Check database, disk, queue, EMsoft, GPU, key and versions; say how to mend what is wrong."""
    import json

    from ebsdsg_flows.doctor.checks import diagnose

    findings = diagnose(timeout)
    if as_json:
        print(json.dumps([finding.to_dict() for finding in findings], indent=2))
    else:
        for finding in findings:
            print(finding)
    raise typer.Exit(int(any(finding.verdict == "fault" for finding in findings)))
