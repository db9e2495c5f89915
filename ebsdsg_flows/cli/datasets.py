"""Commands about data sets: ``dataset build``, ``show`` and ``leaks``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Build data sets and see what is in them.", no_args_is_help=True)

Key = Annotated[str, typer.Argument(help="Key of a data set, or its beginning; or its file.")]


@app.command()
def build(
    recipe: Annotated[Path, typer.Argument(help="Recipe (YAML).")],
    campaign: Annotated[
        list[str] | None,
        typer.Option("--campaign", "-c", help="Take the simulations of this campaign; repeatable."),
    ] = None,
    simulations: Annotated[
        str | None, typer.Option("--simulations", "-s", help="MongoDB query of them, as JSON.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Copy the data set to this file too.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Build a data set from simulations, or find the one that the recipe made before."""
    from ebsdsg_flows.dataset_commands import build_from_file
    from ebsdsg_flows.session import open_stores

    build_from_file(open_stores(), recipe, campaign or [], simulations, output, quiet=quiet)


@app.command()
def show(dataset: Key) -> None:
    """Say what is in a data set: classes, folds, phases, and what was left out."""
    from ebsdsg_flows.dataset_commands import show_dataset

    show_dataset(dataset)


@app.command()
def leaks(dataset: Key) -> None:
    """Check again that the folds share nothing; exit code 1 if they do."""
    from ebsdsg_flows.dataset_commands import show_leaks

    raise typer.Exit(0 if show_leaks(dataset) else 1)
