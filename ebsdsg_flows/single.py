"""One crystal or one pattern on the command line, without a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ebsdsg_sim.parameters import SimulationParameters


class ModelNotFound(ValueError):
    """The model that a prediction asks for is not there."""


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


def model_of(run: str | None, model: Path | None) -> Path:
    """File of the model that a prediction uses.

    Parameters
    ----------
    run : key of a training run (or its first letters) in the database.
    model : file; wins over the run.

    Raises
    ------
    ModelNotFound
        If neither is given, the file is missing, or the run has no model.
    """
    if model is not None:
        if not model.is_file():
            raise ModelNotFound(f"no model file at {model}")
        return model
    if run is None:
        raise ModelNotFound("say which model: --run ID of a training run, or --model FILE")
    import re

    from ebsdsg_flows.session import open_stores
    from ebsdsg_flows.settings import get_settings

    found = list(
        open_stores().training_runs.find({"key": {"$regex": f"^{re.escape(run)}"}}).limit(2)
    )
    if len(found) != 1:
        raise ModelNotFound(
            f"{'more than one' if found else 'no'} training run begins with {run!r}; list them: "
            "`ebsdsg query '{}' -c training_runs --fields key,labels,fold,accuracy`"
        )
    checkpoint = found[0].get("checkpoint")
    path = get_settings().root / checkpoint["path"] if checkpoint else None
    if path is None or not path.is_file():
        raise ModelNotFound(
            f"training run {found[0]['key']} ({found[0]['state']}) has no model file"
        )
    return path


def predict_files(images: list[Path], *, run: str | None, model: Path | None) -> None:
    """Print the space group of pattern images, with the probability of every class.

    Parameters
    ----------
    images : image files.
    run, model : see :func:`model_of`.
    """
    from rich.console import Console
    from rich.table import Table

    from ebsdsg_ml.pattern_model import PatternModel
    from ebsdsg_ml.predict import predict

    loaded = PatternModel.load(model_of(run, model))
    table = Table(title=f"{loaded.card.label} space groups, {loaded.card.model}")
    table.add_column("pattern", overflow="fold", min_width=12)
    table.add_column("group", justify="right")
    for number in loaded.classes:
        table.add_column(f"p({number})", justify="right")
    table.add_column("IQ", justify="right")
    for answer in predict(loaded, images):
        shares = [f"{p:.3f}" for p in answer.probabilities.values()]
        table.add_row(
            answer.path.name, str(answer.space_group), *shares, f"{answer.image_quality:.2f}"
        )
    Console().print(table)
