"""Data sets, each made once: from simulations and a recipe to a file and its document.

A data set is identified by what determines its content: how the recipe makes patterns, which phases
it chooses, and their simulations.  A recipe that is written another way, or a simulation that it
leaves out anyway, makes no new data set.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.settings import get_settings
from stores.documents import (
    DatasetDocument,
    FileReference,
    MasterPatternDocument,
    Member,
    SimulationDocument,
    StructureDocument,
)
from stores.identity import content_hash

if TYPE_CHECKING:
    from ebsdsg_ml.dataset_plan import DatasetPlan
    from ebsdsg_ml.datasets import PatternSource, Progress
    from stores.collections import Stores


class MissingPattern(RuntimeError):
    """A data set asks for a simulation that has no master pattern."""


def reference(path: Path, root: Path, sha256: str) -> FileReference:
    """A file below the data root, as documents name it."""
    return FileReference(
        path=path.resolve().relative_to(root.resolve()).as_posix(),
        bytes=path.stat().st_size,
        sha256=sha256,
    )


def pattern_sources(
    stores: Stores, simulations: list[str]
) -> tuple[list[PatternSource], dict[str, SimulationDocument]]:
    """Master patterns as data sets take them, and the simulations by digest of their pattern.

    Parameters
    ----------
    stores : open database.
    simulations : keys of completed simulations.

    Raises
    ------
    MissingPattern
        If one of them has no master pattern in the database.
    """
    from ebsdsg_ml.datasets import PatternSource

    root = get_settings().root
    sources, by_digest = [], {}
    for key in sorted(set(simulations)):
        simulation = stores.get(SimulationDocument, key)
        pattern = stores.get(MasterPatternDocument, key)
        if simulation is None or pattern is None:
            raise MissingPattern(f"simulation {key} has no master pattern in the database")
        structure = stores.get(StructureDocument, simulation.material_id)
        by_digest[pattern.file.sha256] = simulation
        factors = [float(site["debye_waller"]) for site in simulation.crystal["sites"]]
        sources.append(
            PatternSource(
                phase=simulation.material_id,
                formula=simulation.formula,
                labels={"true": simulation.space_group, "relabelled": simulation.relabelled},
                path=root / pattern.file.path,
                sha256=pattern.file.sha256,
                prototype=structure.prototype if structure else None,
                debye_waller=(min(factors), max(factors)),
            )
        )
    return sources, by_digest


def make_dataset(
    stores: Stores,
    recipe: dict[str, Any],
    simulations: list[str],
    progress: Progress | None = None,
) -> DatasetDocument:
    """Build a data set and its document, or return the one that exists.

    Parameters
    ----------
    stores : open database.
    recipe : fields of :class:`ebsdsg_ml.recipe.DatasetRecipe`.
    simulations : keys of completed simulations.
    progress : told after every phase.

    Raises
    ------
    ebsdsg_ml.leaks.LeakError
        If the folds are not as disjoint as the split promises; names the phases.
    """
    from ebsdsg_ml.dataset_plan import plan_dataset
    from ebsdsg_ml.datasets import build_dataset, file_sha256
    from ebsdsg_ml.recipe import DatasetRecipe

    loaded = DatasetRecipe.from_dict(recipe)
    sources, by_digest = pattern_sources(stores, simulations)
    plan = plan_dataset(loaded, sources)
    used = [by_digest[phase.source.sha256] for phase in plan.phases]
    identity = {**plan.content(), "simulations": [simulation.key for simulation in used]}
    key = DatasetDocument.key_of(identity)
    settings = get_settings()
    path = settings.root / "datasets" / f"{key}.h5"
    known = stores.get(DatasetDocument, key)
    if known is not None and path.is_file() and file_sha256(path) == known.file.sha256:
        return known
    report = build_dataset(loaded, sources, path, device=settings.device, progress=progress)
    document = DatasetDocument(
        key=key,
        recipe=identity,
        written=loaded.to_dict(),
        labels=loaded.label,
        split=loaded.split,
        generation=loaded.generation,
        folds=loaded.n_folds,
        n_patterns=plan.n_patterns,
        counts={loaded.label: {str(number): n for number, n in plan.counts().items()}},
        members=_members(plan, used),
        left_out=plan.left_out,
        leak_report=plan.leaks.to_dict(),
        file=reference(path, settings.root, report.sha256),
        pictures=[_picture(path, settings.root)],
    )
    stores.save(document)
    return document


def _members(plan: DatasetPlan, simulations: list[SimulationDocument]) -> list[Member]:
    from ebsdsg_ml.splits import TEST

    return [
        Member(
            simulation=simulation.key,
            material_id=simulation.material_id,
            formula=simulation.formula,
            true=simulation.space_group,
            relabelled=simulation.relabelled,
            fold=None if phase.fold == TEST else phase.fold,
            patterns=phase.n_patterns,
            set=phase.set,
        )
        for phase, simulation in zip(plan.phases, simulations, strict=True)
    ]


def _picture(path: Path, root: Path) -> FileReference:
    """Contact sheet of a data set, beside it."""
    from ebsdsg_ml.dataset_sheet import dataset_sheet
    from ebsdsg_ml.datasets import file_sha256
    from ebsdsg_sim.atomic_file import new_file

    target = path.with_suffix(".png")
    with new_file(target) as temporary:
        dataset_sheet(path).save(temporary, format="PNG")
    return reference(target, root, file_sha256(target))


def get_dataset(stores: Stores, key: str) -> DatasetDocument:
    """Document of a data set.

    Parameters
    ----------
    stores : open database.
    key : its key, or the beginning of it if no other data set's begins so.

    Raises
    ------
    MissingPattern
        If there is none of that key, or more than one.
    """
    document = stores.get(DatasetDocument, key) if len(key) == len(content_hash({})) else None
    if document is not None:
        return document
    if not key or not set(key) <= set("0123456789abcdef"):
        raise MissingPattern(f"{key!r} is not the key of a data set: hexadecimal digits")
    found = [
        entry["key"] for entry in stores.datasets.find({"key": {"$regex": f"^{key}"}}, {"key": 1})
    ]
    if len(found) != 1:
        several = f"{len(found)} data sets begin with" if found else "no data set"
        raise MissingPattern(f"{several} {key} in the database")
    (whole,) = found
    document = stores.get(DatasetDocument, whole)
    assert document is not None, "found above"
    return document
