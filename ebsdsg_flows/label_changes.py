"""What relabelling did to a collection of structures: who moved where, why, and how firmly.

Pure functions of structure documents (as they are in the database), and the few queries that fetch
just the fields they need.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ebsdsg_sim.symmetry import hall_number_for, setting
from stores.refusals import hidden_structures

if TYPE_CHECKING:
    from ebsdsg_flows.sources import Query
    from stores.collections import Stores

FIELDS = (
    "key",
    "formula",
    "prototype",
    "space_group.number",
    "relabel.number",
    "relabel.symprec",
    "relabel.by_tolerance",
    "relabel.sensitive",
    "relabel.descent",
)
"""Fields of a structure document that the functions of this module read."""


@dataclass(frozen=True)
class Transitions:
    """How many structures of each true group got each relabelled group.

    Parameters
    ----------
    counts : (true, relabelled) -> number of structures, positive ones only
    """

    counts: Mapping[tuple[int, int], int]

    @property
    def true_groups(self) -> list[int]:
        """Rows: true groups, ascending."""
        return sorted({true for true, _ in self.counts})

    @property
    def relabelled_groups(self) -> list[int]:
        """Columns: groups after relabelling, ascending."""
        return sorted({new for _, new in self.counts})

    @property
    def table(self) -> list[list[int]]:
        """Counts, a row for each true group and a column for each relabelled one."""
        return [
            [self.counts.get((true, new), 0) for new in self.relabelled_groups]
            for true in self.true_groups
        ]

    @property
    def total(self) -> int:
        """Number of structures."""
        return sum(self.counts.values())

    def __str__(self) -> str:
        names = [f"{symbol(g)} {g}" for g in self.relabelled_groups]
        width = max([len(name) for name in names] + [7])
        lines = [f"{'true / new':12}" + "".join(f"{n:>{width + 2}}" for n in [*names, "all"])]
        for true, row in zip(self.true_groups, self.table, strict=True):
            cells = "".join(f"{n or '·':>{width + 2}}" for n in [*row, sum(row)])
            lines.append(f"{f'{symbol(true)} {true}':12}{cells}")
        sums = [sum(column) for column in zip(*self.table, strict=True)]
        lines.append(f"{'all':12}" + "".join(f"{n:>{width + 2}}" for n in [*sums, self.total]))
        return "\n".join(lines)


def transitions(documents: Iterable[Mapping[str, Any]]) -> Transitions:
    """Transition matrix from true to relabelled space groups.

    Parameters
    ----------
    documents : values of structure documents, or the part of them named by `FIELDS`
    """
    return Transitions(
        Counter((d["space_group"]["number"], d["relabel"]["number"]) for d in documents)
    )


@dataclass
class LabelChange:
    """One way in which labels change, and how often.

    Parameters
    ----------
    true, relabelled : space-group numbers
    kind, k_index, groups, text : of the `stores.documents.Descent`
    structures : how many
    examples : formulas of the first of them
    prototypes : their prototypes and how many structures have each
    """

    true: int
    relabelled: int
    kind: str
    k_index: int
    groups: list[int]
    text: str
    structures: int = 0
    examples: list[str] = field(default_factory=list)
    prototypes: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return (
            f"{self.structures:6} {symbol(self.true)} ({self.true}) became "
            f"{symbol(self.relabelled)} ({self.relabelled}), {self.kind}, {self.k_index} cells in "
            f"one: {self.text}; such as {', '.join(self.examples)}"
        )


def label_changes(
    documents: Iterable[Mapping[str, Any]], *, examples: int = 3
) -> list[LabelChange]:
    """The label changes of structures by groups and index, each with its explanation.

    Parameters
    ----------
    documents : values of structure documents, or the part of them named by `FIELDS`
    examples : how many formulas to keep

    Returns
    -------
    The most frequent first.  Structures that kept their group and cell are left out; those that
    kept the group but lost translations (kind ``isomorphic``, or a chain back to it) are not.
    """
    found: dict[tuple[int, int, int], LabelChange] = {}
    for document in documents:
        true, new = document["space_group"]["number"], document["relabel"]["number"]
        way = document["relabel"].get("descent") or {
            "kind": "not recorded", "k_index": 0, "groups": [], "text": "made by an older version"
        }  # fmt: skip
        if way["kind"] == "same":
            continue
        change = found.setdefault(
            (true, new, way["k_index"]),
            LabelChange(true, new, way["kind"], way["k_index"], way["groups"], way["text"]),
        )
        change.structures += 1
        change.prototypes[document.get("prototype") or "unnamed"] += 1
        if len(change.examples) < examples and document["formula"] not in change.examples:
            change.examples.append(document["formula"])
    return sorted(found.values(), key=lambda c: (-c.structures, c.true, c.relabelled))


@dataclass(frozen=True)
class Sensitive:
    """A structure whose relabelled group depends on the tolerance.

    Parameters
    ----------
    material_id, formula : of the structure
    true, relabelled : its labels
    by_tolerance : tolerance [Å] -> group found
    """

    material_id: str
    formula: str
    true: int
    relabelled: int
    by_tolerance: dict[float, int]

    def __str__(self) -> str:
        answers = ", ".join(
            f"{symbol(group)} ({group}) at {tolerance:g} Å"
            for tolerance, group in sorted(self.by_tolerance.items())
        )
        return f"{self.material_id:14} {self.formula:18} true {self.true}: {answers}"


def sensitive(documents: Iterable[Mapping[str, Any]]) -> list[Sensitive]:
    """Structures whose relabelled group depends on the tolerance, by true group and identifier.

    Parameters
    ----------
    documents : values of structure documents, or the part of them named by `FIELDS`
    """
    return sorted(
        (
            Sensitive(
                document["key"],
                document["formula"],
                document["space_group"]["number"],
                document["relabel"]["number"],
                {
                    answer["symprec"]: answer["number"]
                    for answer in document["relabel"]["by_tolerance"]
                },
            )
            for document in documents
            if document["relabel"]["sensitive"]
        ),
        key=lambda s: (s.true, s.material_id),
    )


def unusable(documents: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    """Entries that no structure could be made of: kind -> (identifier, reason), sorted.

    Parameters
    ----------
    documents : values of `stores.documents.UnusableStructureDocument`
    """
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for document in documents:
        found[document["kind"]].append((document["key"], document["reason"]))
    return {kind: sorted(found[kind]) for kind in sorted(found)}


def labelled_structures(
    stores: Stores, query: Query | None = None, *, only_sensitive: bool = False
) -> Iterator[dict[str, Any]]:
    """The labels of stored structures, as the functions of this module read them.

    What was made of an entry before it became unusable or was withdrawn is left out, see
    `stores.refusals.hides`.

    Parameters
    ----------
    stores : open database
    query : keep the structures within the groups, volume limits and identifiers of a campaign
    only_sensitive : keep those whose label depends on the tolerance
    """
    condition = {} if query is None else within(query)
    if only_sensitive:
        condition = {"relabel.sensitive": True, **condition}
    condition["key"] = {**condition.get("key", {}), "$nin": sorted(hidden_structures(stores))}
    yield from stores.structures.find(condition, {"_id": False, **dict.fromkeys(FIELDS, True)})


def within(query: Query) -> dict[str, Any]:
    """MongoDB condition for structure documents within the limits of a campaign's query.

    Parameters
    ----------
    query : groups, identifiers and largest conventional cell of each group [Å³]; the groups and
        volumes compared are those of the standardised structure, not what a source says
    """
    condition: dict[str, Any] = {}
    if query.groups:
        condition["space_group.number"] = {"$in": list(query.groups)}
    if query.max_volume:
        condition["$or"] = [
            *(
                {"space_group.number": group, "volume_conventional": {"$lt": volume}}
                for group, volume in sorted(query.max_volume.items())
            ),
            {"space_group.number": {"$nin": sorted(query.max_volume)}},
        ]
    if query.materials:
        condition["key"] = {"$in": list(query.materials)}
    return condition


def symbol(space_group: int) -> str:
    """Short Hermann–Mauguin symbol of a space group."""
    return setting(hall_number_for(space_group)).international
