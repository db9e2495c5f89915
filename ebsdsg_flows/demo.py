"""``ebsdsg demo``: the whole main job on this machine, ending with what it found."""

from __future__ import annotations

import time
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from ebsdsg_flows.campaign import Campaign
    from ebsdsg_flows.results import CampaignResults
    from ebsdsg_flows.run import RunSummary


def demo_campaign() -> Campaign:
    """The campaign that the package brings along."""
    from ebsdsg_flows.campaign import load_campaign

    with as_file(files("ebsdsg_flows") / "data" / "demo.yaml") as path:
        return load_campaign(path)


def run_demo(workers: int | None = None) -> int:
    """Run the demonstration campaign and print what it found.

    Parameters
    ----------
    workers : worker processes; default from the settings.

    Returns
    -------
    Exit code: 0 if everything was completed.
    """
    from rich.console import Console

    from ebsdsg_flows.results import campaign_results
    from ebsdsg_flows.run import run_until_idle
    from ebsdsg_flows.session import open_stores
    from ebsdsg_flows.settings import get_settings
    from ebsdsg_flows.submit import submit

    console = Console()
    begun = time.monotonic()
    campaign = demo_campaign()
    stores = open_stores()
    parameters = campaign.simulation.simulation_parameters
    sizes = sorted({str(recipe["size"]) for recipe in campaign.datasets.values()})
    console.print(f"data root {get_settings().root}", highlight=False, markup=False)
    console.print(
        f"reduced settings: maps {2 * parameters.npx + 1} x {2 * parameters.npx + 1} "
        f"(paper 601 x 601), {len(parameters.energies)} energies (11), "
        f"dmin {parameters.dmin:g} nm (0.05), images of {' and '.join(sizes)} pixels (229), "
        f"{campaign.training['epochs']} epochs from random weights (10 from ImageNet's)",
        highlight=False,
        soft_wrap=True,
    )
    console.print(str(submit(campaign, stores)), highlight=False)
    summary = run_until_idle(stores, workers=workers)
    results = campaign_results(stores, campaign.name)
    _print_results(console, results, summary, time.monotonic() - begun)
    complete = results.campaign.progress.get("report") is not None and summary.failed == 0
    return 0 if complete else 1


def _print_results(
    console: Console, results: CampaignResults, summary: RunSummary, seconds: float
) -> None:
    from rich.table import Table

    from ebsdsg_flows.report import query_commands
    from ebsdsg_flows.results import dataset_title
    from ebsdsg_ml.metrics import phase_interval

    table = Table(title="What the demonstration found", title_justify="left")
    table.add_column("")
    table.add_column("")
    table.add_row("structures", str(len(results.campaign.structures)))
    states = ", ".join(f"{n} {state}" for state, n in sorted(results.states.items()))
    table.add_row("simulations", f"{states} ({results.cpu_seconds:.0f} CPU-seconds)")
    for name, evaluation in results.evaluations.items():
        share, phases = evaluation["accuracy"], evaluation["by_phase"]
        limits = phase_interval(phases)
        spread = "" if limits is None else f" ({limits[0]:.0%} to {limits[1]:.0%} over phases)"
        table.add_row(
            f"accuracy, {dataset_title(name, evaluation['label'])}",
            f"{share['value']:.1%}{spread} of {share['total']} patterns of {len(phases)} phases "
            f"not seen in training (chance {1 / len(evaluation['classes']):.0%})",
        )
    for run in results.trainings:
        if run["fold"] is None and run["state"] == "completed":
            table.add_row("final model", f"training run {run['key']}")
    table.add_row("this call", f"{summary}; {seconds:.0f} s in all")
    console.print(table)
    console.print(
        "what relabelling is worth takes many more phases to see: docs/validation/learning.md",
        highlight=False,
    )
    report = results.campaign.progress.get("report")
    report = report or "not written, see ebsdsg status"
    console.print(f"report: {report}", highlight=False, markup=False)
    console.print("ask the database, for example:", highlight=False)
    for title, command in query_commands():
        console.print(f"  # {title}\n  {command}", highlight=False, soft_wrap=True, markup=False)
