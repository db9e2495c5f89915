"""Commands about one crystal: ``simulate``; no database needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command()(simulate)


def simulate(
    structure: Annotated[Path, typer.Argument(help="CIF file of the crystal.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Master pattern to write (HDF5, EMsoft layout).")
    ],
    png: Annotated[bool, typer.Option("--png", help="Write a picture beside it.")] = False,
    npx: Annotated[int, typer.Option(min=1, help="Half width of the map [pixels].")] = 100,
    voltage: Annotated[float, typer.Option(help="Beam energy [keV].")] = 20.0,
    energy_min: Annotated[float, typer.Option(help="Lowest energy bin [keV].")] = 10.0,
    energy_step: Annotated[float, typer.Option(help="Width of the energy bins [keV].")] = 1.0,
    dmin: Annotated[float, typer.Option(help="Smallest plane spacing used [nm].")] = 0.05,
    electrons: Annotated[int, typer.Option(min=1, help="Monte Carlo electrons.")] = 1_000_000,
    debye_waller: Annotated[float, typer.Option(help="Of every atom [nm^2].")] = 0.004,
    device: Annotated[str | None, typer.Option(help="Torch device; default: settings.")] = None,
) -> None:
    """Simulate the master pattern of one structure, without a database."""
    from ebsdsg_flows.single import simulate_file
    from ebsdsg_sim.parameters import SimulationParameters

    parameters = SimulationParameters(
        voltage=voltage,
        energy_min=energy_min,
        energy_step=energy_step,
        npx=npx,
        dmin=dmin,
        n_electrons=electrons,
    )
    simulate_file(structure, output, parameters, debye_waller, device=device, png=png)
