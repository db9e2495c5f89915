"""One crystal on the command line, without a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ebsdsg_sim.parameters import SimulationParameters


def simulate_file(
    structure: Path,
    output: Path,
    parameters: SimulationParameters,
    debye_waller: float,
    *,
    device: str | None = None,
    png: bool = False,
) -> None:
    """Simulate the master pattern of a structure file and say what was done.

    Parameters
    ----------
    structure : CIF file.
    output : HDF5 file to write, in EMsoft's layout.
    parameters : what is computed.
    debye_waller : Debye-Waller factor of every atom [nm^2].
    device : torch device; default from the settings.
    png : write a picture beside the file.

    Raises
    ------
    ebsdsg_flows.structures.StructureError
        If the structure cannot be used; nothing is written then.
    """
    import torch
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from ebsdsg_flows.settings import get_settings
    from ebsdsg_flows.structures import document_from_cif
    from ebsdsg_sim.crystal import Crystal
    from ebsdsg_sim.hdf5 import read_master_pattern
    from ebsdsg_sim.preview import master_pattern_png
    from ebsdsg_sim.simulate import simulate

    document = document_from_cif(structure, debye_waller=debye_waller)
    settings = get_settings()
    torch.set_num_threads(settings.workers)
    crystal = Crystal.from_dict(document.crystal)
    console = Console(stderr=True)
    console.print(
        f"{document.formula}: {document.space_group.symbol} ({document.space_group.number}), "
        f"relabelled {document.relabel.symbol} ({document.relabel.number}), "
        f"{document.n_atoms} atoms, {document.density:.3f} g/cm3"
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description:16}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=None)

        def progress(stage: str, done: int, total: int) -> None:
            bar.update(task, description=stage, completed=done, total=total)

        report = simulate(
            crystal, parameters, output, device=device or settings.device, progress=progress
        )
    print(f"wrote {output} ({report.bytes / 1e6:.1f} MB, {report.cpu_seconds:.1f} CPU-seconds)")
    if png:
        picture = output.with_suffix(".png")
        master_pattern_png(read_master_pattern(output), picture)
        print(f"wrote {picture}")
