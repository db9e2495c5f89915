"""Commands about what engines did: ``rerun`` and ``compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command()(rerun)
    app.command()(compare)


def rerun(
    campaign: Annotated[str | None, typer.Argument(help="Only of this campaign.")] = None,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="failed, timed_out or lost; default: all three."),
    ] = None,
    code: Annotated[int | None, typer.Option(help="Only this failure code.")] = None,
    material: Annotated[str | None, typer.Option(help="Only this structure.")] = None,
    walltime: Annotated[
        str | None, typer.Option(help="Time for each stage, for example 24h.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the new attempt.")] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also what would fail again in the same way.")
    ] = False,
) -> None:
    """Send simulations that ended badly again; `ebsdsg run` or the queue then computes them."""
    from ebsdsg_flows.rerun import rerun as send_again
    from ebsdsg_flows.rerun import seconds_of
    from ebsdsg_flows.session import open_stores

    stores = open_stores()
    print(
        send_again(
            stores,
            stores.launchpad(strm_lvl="ERROR"),
            campaign=campaign,
            states=tuple(state or ()),
            code=code,
            material_id=material,
            walltime=None if walltime is None else seconds_of(walltime),
            threads=threads,
            anyway=anyway,
        )
    )


def compare(
    first: Annotated[Path, typer.Argument(help="Master pattern, of any engine.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    png: Annotated[Path | None, typer.Option(help="Picture of both and their difference.")] = None,
) -> None:
    """Put two master patterns side by side: correlation and scale at every common energy."""
    from ebsdsg_flows.compare import compare_files, difference_picture

    agreements = compare_files(first, second)
    print(f"{'keV':>6} {'nodes':>8} {'correlation':>12} {'scale':>9} {'largest difference':>19}")
    for line in agreements:
        print(
            f"{line.energy:6.1f} {line.n_nodes:8d} {line.ncc:12.6f} {line.scale:9.5f} "
            f"{line.largest:19.5f}"
        )
    if png is not None:
        energy = difference_picture(first, second, png)
        print(f"wrote {png}: {first.name}, {second.name} and their difference at {energy:g} keV")
