"""What ``ebsdsg dataset`` does: recipes from files, simulations of campaigns, printed tables."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.settings import get_settings
from ebsdsg_flows.yaml_file import read_entries

if TYPE_CHECKING:
    from ebsdsg_ml.dataset_file import OpenDataset
    from stores.collections import Stores

SHOWN = 20
"""Phases and overlaps named in a table before it says how many more there are."""


class DatasetCommandError(ValueError):
    """A recipe file, a query or a name given to a command is not usable."""


def read_recipe(path: Path) -> dict[str, Any]:
    """Recipe of a YAML file, checked.

    Raises
    ------
    DatasetCommandError
        If the file is missing, is not YAML, or is not a mapping.
    ebsdsg_ml.recipe.RecipeError
        If an entry is unknown or wrong.
    """
    from ebsdsg_ml.recipe import DatasetRecipe

    entries = "the entries of a recipe, such as label: true"
    content = read_entries(path, "recipe", entries, DatasetCommandError)
    return DatasetRecipe.from_dict(content).to_dict()


def completed_simulations(stores: Stores, campaigns: list[str], query: str | None) -> list[str]:
    """Keys of the completed simulations that campaigns or a query name.

    Parameters
    ----------
    stores : open database.
    campaigns : names.
    query : MongoDB query of simulations as JSON; None for none.

    Raises
    ------
    DatasetCommandError
        If a campaign does not exist, nothing or both are given, the query cannot be read, or no
        simulation is completed.
    """
    from ebsdsg_flows.status import parse_query
    from stores.documents import CampaignDocument
    from stores.states import State

    if bool(campaigns) == (query is not None):
        raise DatasetCommandError("say which simulations: either --campaign or --simulations")
    if query is not None:
        criteria: dict[str, Any] = parse_query("simulations", query, stores)
    else:
        keys: set[str] = set()
        for name in campaigns:
            document = stores.get(CampaignDocument, name)
            if document is None:
                raise DatasetCommandError(f"no campaign {name} in the database")
            keys |= set(document.simulations)
            mine = {"campaign": name, "current": True, "simulation": {"$ne": None}}
            keys |= {m["simulation"] for m in stores.members.find(mine, {"simulation": 1})}
        criteria = {"key": {"$in": sorted(keys)}}
    found = stores.simulations.find(
        {"$and": [criteria, {"state": str(State.COMPLETED)}]}, {"key": 1}
    )
    simulations = sorted(entry["key"] for entry in found)
    if not simulations:
        raise DatasetCommandError("no completed simulation is among those asked for")
    return simulations


def build_from_file(
    stores: Stores,
    recipe: Path,
    campaigns: list[str],
    query: str | None,
    output: Path | None,
    *,
    quiet: bool = False,
) -> None:
    """Build what a recipe file says, copy it where it is wanted, and say what it is."""
    import shutil

    from rich.progress import Progress

    from ebsdsg_flows.datasets import make_dataset
    from ebsdsg_sim.atomic_file import new_file

    loaded = read_recipe(recipe)
    simulations = completed_simulations(stores, campaigns, query)
    with Progress(disable=quiet) as bar:
        task = bar.add_task("phases", total=None)

        def progress(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=f"{what:<12}")

        document = make_dataset(stores, loaded, simulations, progress)
    path = get_settings().root / document.file.path
    for name in campaigns:
        stores.campaigns.update_one({"key": name}, {"$addToSet": {"datasets": document.key}})
    if output is not None:
        with new_file(output) as temporary:
            shutil.copyfile(path, temporary)
    print(f"data set {document.key}")
    print(f"file     {output or path} ({document.file.bytes / 2**20:.1f} MiB)")
    print(f"picture  {get_settings().root / document.pictures[0].path}")
    show_dataset(str(path))


def open_named(name: str) -> OpenDataset:
    """A data set by its file, or by the beginning of its key."""
    from ebsdsg_ml.dataset_file import open_dataset

    if Path(name).is_file():
        return open_dataset(name)
    from ebsdsg_flows.datasets import get_dataset
    from ebsdsg_flows.session import open_stores

    return open_dataset(get_settings().root / get_dataset(open_stores(), name).file.path)


def show_dataset(name: str) -> None:
    """Print what is in a data set.

    Parameters
    ----------
    name : file, or key or the beginning of it.
    """
    from ebsdsg_ml.splits import TEST

    with open_named(name) as opened:
        recipe = opened.recipe
        print(
            f"{len(opened)} {recipe.generation} patterns of {recipe.size} x {recipe.size} pixels, "
            f"{len({row['id'] for row in opened.phases})} phases, {recipe.n_folds} "
            f"{recipe.split}-disjoint folds, {recipe.label} space groups"
        )
        differing = {k: v for k, v in recipe.content().items() if k not in ("label", "classes")}
        chosen = {k: v for k, v in recipe.to_dict().items() if v and k in _CHOICES}
        for entry, value in (differing | chosen).items():
            print(f"  {entry}: {json.dumps(value)}")
        patterns: dict[tuple[str, int], Counter[int]] = defaultdict(Counter)
        phases: dict[tuple[str, int], Counter[int]] = defaultdict(Counter)
        for row in opened.phases:
            patterns[row["set"], row["fold"]][row[recipe.label]] += row["n_patterns"]
            phases[row["set"], row["fold"]][row[recipe.label]] += 1
        print("patterns (phases) of every class")
        print(f"{'':>20}" + "".join(f"{number:>14}" for number in recipe.class_numbers))
        for set_name, fold in sorted(patterns, key=lambda k: (recipe.sets.index(k[0]), k[1] % 99)):
            where = "test set" if fold == TEST else f"fold {fold}"
            cells = "".join(
                f"{patterns[set_name, fold][c]:>8} ({phases[set_name, fold][c]:>3})"
                for c in recipe.class_numbers
            )
            print(f"{f'{set_name} {where}':>20}{cells}")
    _print_left_out(name)


_CHOICES = ("exclude", "test", "debye_waller")


def _print_left_out(name: str) -> None:
    """Print what a data set of the database does without."""
    from ebsdsg_flows.session import open_stores

    key = Path(name).stem
    found = open_stores().datasets.find_one({"key": {"$regex": f"^{key}"}}, {"left_out": 1})
    reasons: dict[str, list[str]] = defaultdict(list)
    for phase, reason in ((found or {}).get("left_out") or {}).items():
        reasons[reason].append(phase)
    for reason, phases in sorted(reasons.items()):
        more = f" and {len(phases) - SHOWN} more" if len(phases) > SHOWN else ""
        print(f"left out, {reason}: {', '.join(phases[:SHOWN])}{more}")


def show_leaks(name: str) -> bool:
    """Check the folds of a data set's file again and print what they share.

    Parameters
    ----------
    name : file, or key or the beginning of it.

    Returns
    -------
    Whether nothing is shared that the split promises to separate.
    """
    from ebsdsg_ml.leaks import FoldMember, leak_report

    with open_named(name) as opened:
        report = leak_report(
            [
                FoldMember(
                    row["id"],
                    row["fold"],
                    row["sha256"],
                    row["formula"],
                    row["prototype"] or None,
                )
                for row in opened.phases
            ],
            opened.recipe.split,
        )
    checked = ", ".join(f"{n} {kind}s" for kind, n in report.checked.items())
    print(f"{report.n_phases} phases in {report.n_folds} folds compared: {checked}")
    if report.empty:
        print(f"no leak: no two folds share a {', '.join(report.promised)}")
    for leak in report.leaks:
        print(f"LEAK {leak}")
    for overlap in report.overlaps[:SHOWN]:
        folds = ", ".join("test set" if f < 0 else str(f) for f in overlap.folds)
        print(
            f"shared, as the {report.split} split allows: {overlap.kind} {overlap.key}, "
            f"{len(overlap.phases)} phases in folds {folds}"
        )
    if len(report.overlaps) > SHOWN:
        print(f"and {len(report.overlaps) - SHOWN} more")
    return report.empty
