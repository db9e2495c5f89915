"""``ebsdsg structures``: label what was imported, and see what relabelling did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ebsdsg_flows.campaign import StructureQuery

app = typer.Typer(
    help="Imported entries become labelled structures; what relabelling did.",
    no_args_is_help=True,
)
Campaign = Annotated[
    Path | None,
    typer.Option("--campaign", "-c", help="Only within groups and volumes of this campaign file."),
]


@app.command()
def build(
    processes: Annotated[
        int | None, typer.Option("--processes", "-n", min=1, help="Default: one for each core.")
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try what could not be used before, too.")
    ] = False,
    symprec: Annotated[
        float, typer.Option(min=1e-6, max=1.0, help="Tolerance of the symmetry search [Å].")
    ] = 0.1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Standardise, check and label the imported entries that are new or have changed."""
    import os

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from ebsdsg_flows.builders.run import build_structures
    from ebsdsg_flows.session import open_stores

    stores = open_stores()
    columns = ("structures", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("structures", total=None)
        result = build_structures(
            stores,
            symprec=symprec,
            retry=retry,
            processes=processes or len(os.sched_getaffinity(0)),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    print(result)
    if result.unusable:
        print("`ebsdsg structures unusable` gives the reasons")


@app.command()
def transitions(campaign: Campaign = None) -> None:
    """Count true against relabelled space groups, and explain every change."""
    from ebsdsg_flows.label_changes import label_changes, labelled_structures
    from ebsdsg_flows.label_changes import transitions as transitions_of
    from ebsdsg_flows.session import open_stores

    documents = list(labelled_structures(open_stores(), _query(campaign)))
    print(transitions_of(documents))
    for change in label_changes(documents):
        print(change)


@app.command()
def sensitive(campaign: Campaign = None) -> None:
    """List the structures whose relabelled group depends on the tolerance."""
    from ebsdsg_flows.label_changes import labelled_structures
    from ebsdsg_flows.label_changes import sensitive as sensitive_of
    from ebsdsg_flows.session import open_stores

    found = sensitive_of(labelled_structures(open_stores(), _query(campaign), only_sensitive=True))
    for structure in found:
        print(structure)
    print(f"{len(found)} structures whose relabelled group depends on the tolerance")


@app.command()
def unusable() -> None:
    """List the entries that no structure could be made of, each with its reason."""
    from ebsdsg_flows.label_changes import unusable as unusable_of
    from ebsdsg_flows.session import open_stores

    found = unusable_of(open_stores().unusable_structures.find({}, {"_id": False}))
    for kind, entries in found.items():
        print(f"{kind}: {len(entries)}")
        for _, reason in entries:
            print(f"  {reason}")
    if not found:
        print("every entry that was tried could be used")


@app.command()
def subgroups(
    groups: Annotated[list[int], typer.Argument(min=1, max=230, help="Space groups.")],
    kinds: Annotated[
        str, typer.Option(help="k: translations lost, t: point group reduced, i: same type.")
    ] = "k",
) -> None:
    """Show the maximal subgroups among some space groups, with their indices."""
    from ebsdsg_sim.subgroups import subgroup_graph

    steps = subgroup_graph(groups, kinds)
    for step in steps:
        print(step)
    if not steps:
        print("no step among these groups")


def _query(campaign: Path | None) -> StructureQuery | None:
    if campaign is None:
        return None
    from ebsdsg_flows.campaign import load_campaign

    return load_campaign(campaign).structures
