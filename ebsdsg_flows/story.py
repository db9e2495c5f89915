"""``ebsdsg show``: the whole story of one structure, from its label to the models that saw it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores import documents
from stores.documents import short
from stores.queries import everything_about

if TYPE_CHECKING:
    from stores.collections import Stores


class UnknownStructure(ValueError):
    """Nothing in the database belongs to a structure of that identifier."""


def structure_story(stores: Stores, material_id: str) -> str:
    """All that the database knows about a structure, as text.

    Parameters
    ----------
    stores : open database.
    material_id : of the structure.

    Raises
    ------
    UnknownStructure
        If it knows nothing.
    """
    found = everything_about(stores, material_id)
    if not any(found.values()):
        raise UnknownStructure(
            f"nothing is known of {material_id!r}; `ebsdsg query '{{}}' -c structures -f key` "
            "lists what there is"
        )
    lines = _structure_lines(material_id, found["structure"], found["unusable"], found["hidden"])
    for member in found["members"]:
        variant = f", variant {member['variant']}" if member["variant"] else ""
        former = "" if member["current"] else " (no longer asked for)"
        lines.append(f"campaign {member['campaign']}{variant}: {member['outcome']}{former}")
    patterns = {pattern["key"]: pattern for pattern in found["master_patterns"]}
    for simulation in found["simulations"]:
        runs = [run for run in found["runs"] if run["simulation"] == simulation["key"]]
        lines += _simulation_lines(simulation, runs, patterns.get(simulation["key"]))
    for dataset in found["datasets"]:
        lines.append(
            f"data set {short(dataset['key'])} ({dataset['labels']}): "
            f"{dataset['patterns']} patterns in fold {dataset['fold']}"
        )
    for run in found["training_runs"]:
        guess = f", mostly taken for {run['most_frequent']}" if run["most_frequent"] else ""
        lines.append(
            f"training {run['key'][:8]} ({run['labels']}): {run['accuracy']:.0%} of {run['n']} "
            f"patterns right as {run['label']}{guess}"
        )
    return "\n".join(lines)


def _structure_lines(
    material_id: str,
    structure: dict[str, Any] | None,
    unusable: dict[str, Any] | None,
    hidden: bool,
) -> list[str]:
    if structure is None and unusable is None:
        return [f"{material_id}: not standardised yet"]
    refused = [] if unusable is None else [f"{material_id}: {unusable_reason(unusable)}"]
    if structure is None:
        return refused
    if refused:
        stands = "is of another tolerance, and counts"
        refused.append(f"  the structure below {'was made before that' if hidden else stands}")
    group, relabel = structure["space_group"], structure["relabel"]
    lines = [
        *refused,
        f"{material_id}: {structure['formula']}, {group['symbol']} ({group['number']}), "
        f"prototype {structure['prototype'] or 'unnamed'}",
        f"  {structure['n_atoms']} atoms in {structure['volume_conventional']:.1f} Å³ "
        f"({structure['n_atoms_primitive']} in {structure['volume_primitive']:.1f} Å³ primitive), "
        f"{structure['density']:.2f} g/cm³, symmetrised at {structure['symprec']} Å",
        f"  from {structure['source']['reference'] or structure['source']['kind']}, "
        f"licence: {structure['licence']}",
    ]
    choice = group["origin_choice"]
    if choice is not None:
        lines.append(f"  origin choice {choice}, Hall number {group['hall_number']}")
    lines.append(
        f"  label after disordering: {relabel['symbol']} ({relabel['number']}); "
        f"{label_reason(structure)}"
    )
    if relabel["sensitive"]:
        answers = ", ".join(f"{r['number']} at {r['symprec']} Å" for r in relabel["by_tolerance"])
        lines.append(f"  the label depends on the tolerance: {answers}")
    lines += [f"  note: {note}" for note in structure["notes"]]
    return lines


def unusable_reason(unusable: dict[str, Any]) -> str:
    """Why no structure can be made of an entry, in words.

    Parameters
    ----------
    unusable : values of its `stores.documents.UnusableStructureDocument`.
    """
    reason = str(unusable["reason"]).removeprefix(f"{unusable['material_id']}: ")
    kind = unusable["kind"]
    # only a refusal may have to do with the tolerance
    told = f"{kind} at {unusable['symprec']} Å" if kind == "refused" else kind
    return f"cannot be used ({told}): {reason}"


def label_reason(structure: dict[str, Any]) -> str:
    """Why a structure has its relabelled group, in words.

    Parameters
    ----------
    structure : values of its document.
    """
    relabel = structure["relabel"]
    return documents.label_reason(
        structure["space_group"]["number"], relabel["number"], relabel["symbol"]
    )


def _simulation_lines(
    simulation: dict[str, Any], runs: list[dict[str, Any]], pattern: dict[str, Any] | None
) -> list[str]:
    parameters = simulation["parameters"]
    factors = sorted({site["debye_waller"] for site in simulation["crystal"]["sites"]})
    lines = [
        f"simulation {short(simulation['key'])} by {simulation['engine']['name']} "
        f"{simulation['engine']['physics_version']}: {simulation['state']}, "
        f"{simulation['energies_done']} of {simulation['n_energies'] or '?'} energies, "
        f"stage {simulation['stage']}",
        f"  {parameters.get('voltage', '?')} kV, npx {parameters.get('npx', '?')}, dmin "
        f"{parameters.get('dmin', '?')} nm, Debye-Waller factors "
        f"{', '.join(f'{factor:g}' for factor in factors)} nm²",
    ]
    if simulation["next_action"]:
        lines.append(f"  next: {simulation['next_action']}")
    for run in runs:
        took = "" if run["wall_seconds"] is None else f", {run['wall_seconds']:.0f} s"
        queue = f", queue job {run['queue_id']}" if run.get("queue_id") else ""
        lines.append(
            f"  attempt {run['attempt']}: {run['stage']} by {run['program']} on "
            f"{run['owner']['host']}, {run['started']:%Y-%m-%d %H:%M} UTC: {run['state']}{took}"
            f"{queue}"
        )
        if run["failure"]:
            failure = run["failure"]
            lines.append(f"    failure {failure['code']} ({failure['name']}): {failure['message']}")
        lines += [f"    file {file['path']} ({file['bytes']} bytes)" for file in run["files"]]
    if pattern is not None:
        lines.append(
            f"  master pattern {pattern['file']['path']}, sha256 {pattern['file']['sha256'][:10]}…"
        )
    return lines
