"""What relabelling does to the snapshot of the Materials Project: counts, reasons, tolerances."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ebsdsg_flows.campaign import StructureQuery, load_campaign
from ebsdsg_flows.label_changes import (
    label_changes,
    labelled_structures,
    sensitive,
    transitions,
    unusable,
    within,
)
from ebsdsg_flows.structures import structure_document
from stores.collections import Stores

PAPER_CAMPAIGN = Path(__file__).parents[2] / "campaigns" / "paper.yaml"


@pytest.fixture(scope="session")
def rows(shared: Path) -> list[dict[str, Any]]:
    with gzip.open(shared / "data/structures/mp_cubic.jsonl.gz", "rt") as stream:
        return [json.loads(line) for line in stream]


def document(row: dict[str, Any]) -> dict[str, Any]:
    return structure_document(row["structure"], row["material_id"]).to_mongo()


def test_limits_of_the_paper_keep_5258_structures(
    stores: Stores, rows: list[dict[str, Any]]
) -> None:
    """Limits of the committed campaign, on group and volume as the program finds them.

    Labelling all rows takes minutes, so what the source states is taken where it cannot matter:
    rows whose volume is within 2 % of their limit are standardised here, and one in a hundred of
    the others.
    """
    query = load_campaign(PAPER_CAMPAIGN).structures
    values = []
    for i, row in enumerate(rows):
        group, volume = row["spacegroup_number"], row["volume_conventional"]
        if i % 100 == 50 or abs(volume / query.max_volume[group] - 1) < 0.02:
            found = structure_document(row["structure"], row["material_id"])
            assert found.space_group.number == group, row["material_id"]
            assert found.volume_conventional == pytest.approx(volume, rel=1e-3)
            group, volume = found.space_group.number, found.volume_conventional
        july = row["in_2024_07_snapshot"]
        values.append(
            {
                "key": row["material_id"],
                "space_group": {"number": group},
                "volume_conventional": volume,
                "july": july,
            }
        )
    stores.structures.insert_many(values)
    kept = list(stores.structures.find(within(query)))
    july = [d for d in kept if d["july"]]
    assert (len(kept), len(july)) == (5269, 5258)
    counts = Counter(d["space_group"]["number"] for d in july)
    assert counts == {221: 3163, 223: 101, 225: 1441, 227: 242, 229: 87, 230: 224}


def test_limits_leave_other_groups_alone(stores: Stores) -> None:
    stores.structures.insert_many(
        {"key": str(i), "space_group": {"number": group}, "volume_conventional": volume}
        for i, (group, volume) in enumerate([(221, 10.0), (221, 30.0), (225, 30.0), (194, 900.0)])
    )

    def keys(**query: Any) -> set[str]:
        found = stores.structures.find(within(StructureQuery(source="demo", **query)))
        return {d["key"] for d in found}

    assert keys(max_volume={221: 20}) == {"0", "2", "3"}
    assert keys(max_volume={221: 20}, groups=(221, 225)) == {"0", "2"}
    assert keys(materials=("3",)) == {"3"}
    assert keys() == {"0", "1", "2", "3"}


def test_every_change_is_a_chain_of_subgroups(rows: list[dict[str, Any]]) -> None:
    documents = [document(row) for row in rows[::150]]
    matrix = transitions(documents)
    assert matrix.total == len(documents)
    assert sum(map(sum, matrix.table)) == matrix.total
    changes = label_changes(documents)
    kept = sum(d["relabel"]["descent"]["kind"] == "same" for d in documents)
    assert sum(change.structures for change in changes) == len(documents) - kept
    for d in documents:
        way = d["relabel"]["descent"]
        # all six groups have the point group m-3m, which no supergroup can enlarge
        assert way["kind"] in {"same", "klassengleiche", "isomorphic"}
        assert (way["groups"][0], way["groups"][-1]) == (
            d["relabel"]["number"], d["space_group"]["number"],
        )  # fmt: skip
        assert d["n_atoms_primitive"] % way["k_index"] == 0


def test_prototypes_say_what_happens() -> None:
    def row(formula: str, a: float, *sites: tuple[str, list[float]]) -> dict[str, Any]:
        structure = {
            "lattice": {"matrix": [[a, 0, 0], [0, a, 0], [0, 0, a]]},
            "sites": [{"species": [{"element": e, "occu": 1}], "abc": x} for e, x in sites],
        }
        return {"material_id": formula, "structure": structure}

    nial = document(row("NiAl", 2.88, ("Ni", [0, 0, 0]), ("Al", [0.5, 0.5, 0.5])))
    cscl = document(row("CsCl", 4.12, ("Cs", [0, 0, 0]), ("Cl", [0.5, 0.5, 0.5])))
    ni = document(row("Ni", 2.5, ("Ni", [0, 0, 0])))
    changes = label_changes([nial, cscl, ni])
    assert len(changes) == 1
    assert (changes[0].true, changes[0].relabelled, changes[0].k_index) == (221, 229, 2)
    assert changes[0].examples == ["AlNi", "CsCl"]
    assert changes[0].prototypes == {"AB_cP2_221_1_1": 2}
    assert nial["element_statistics"] == {
        "n_elements": 2, "lightest": 13, "heaviest": 28, "difference": 15,
    }  # fmt: skip
    text = str(transitions([nial, cscl, ni])).splitlines()
    assert text[0].split()[3:] == ["Pm-3m", "221", "Im-3m", "229", "all"]
    assert text[1].split()[2:] == ["1", "2", "3"]


def test_an_answer_that_depends_on_the_tolerance_is_listed() -> None:
    # body-centred but for 0.04 Å: the centring takes the star of x to that of 1/2 - x
    x = 0.252
    sites = [("Ni", [0.0, 0.0, 0.0]), ("Al", [0.5, 0.5, 0.5])]
    sites += [("Al", [x, y, z]) for x, y, z in _star(x)]
    structure = {
        "lattice": {"matrix": [[6.0, 0, 0], [0, 6.0, 0], [0, 0, 6.0]]},
        "sites": [{"species": [{"element": e, "occu": 1}], "abc": p} for e, p in sites],
    }
    found = sensitive([document({"material_id": "mp-1", "structure": structure})])
    assert len(found) == 1
    answers = found[0].by_tolerance
    assert answers[0.001] == answers[0.01]
    assert answers[0.1] != answers[0.01]
    assert found[0].relabelled == answers[0.01]
    assert "at 0.1 Å" in str(found[0])


def _star(x: float) -> list[list[float]]:
    signs = [(a, b, c) for a in (1, -1) for b in (1, -1) for c in (1, -1)]
    return [[a * x % 1, b * x % 1, c * x % 1] for a, b, c in signs]


def test_stored_labels(stores: Stores, rows: list[dict[str, Any]]) -> None:
    documents = [structure_document(r["structure"], r["material_id"]) for r in rows[::1500]]
    stores.add_many(documents)
    found = list(labelled_structures(stores))
    assert transitions(found) == transitions(d.to_mongo() for d in documents)
    only = list(labelled_structures(stores, only_sensitive=True))
    assert {d["key"] for d in only} == {d.key for d in documents if d.relabel.sensitive}
    assert not found[0].get("crystal")


def test_reasons_are_sorted_by_kind() -> None:
    values = [
        {"key": "b", "kind": "refused", "reason": "b: flat"},
        {"key": "c", "kind": "defect", "reason": "c: x"},
        {"key": "a", "kind": "refused", "reason": "a: overlap"},
    ]
    assert unusable(values) == {
        "defect": [("c", "c: x")],
        "refused": [("a", "a: overlap"), ("b", "b: flat")],
    }
