"""From imported entries to labelled structures, thousands at a time.

A builder of maggma: it asks the database which entries have no structure yet, or a newer content
than their structure was built from, labels those, and writes what came out in batches, so that a
run that is broken off goes on where it stopped.  An entry that cannot be used is kept with its
reason in ``unusable_structures`` and is not tried again unless it changes or one asks for it.
maggma's ``mrun`` can run it; `ebsdsg_flows.builders.run.build_structures` is the way of this
project.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from maggma.core import Builder, Store

from ebsdsg_flows.builders.entries import label_entry
from ebsdsg_flows.structures import LABELLING, SYMPREC


class StructureBuilder(Builder):
    """Standardise, check and label imported entries.

    Parameters
    ----------
    entries : store of ``source_structures``, key ``key``.
    structures, unusable : stores of ``structures`` and ``unusable_structures``, key ``key``.
    symprec : tolerance of the symmetry search [Å].
    query : MongoDB condition on the entries, such as ``{"space_group": 225}``.
    retry : try what could not be used before, too (but not what its source has withdrawn).
    chunk_size : entries read and written at a time.
    """

    def __init__(
        self,
        entries: Store,
        structures: Store,
        unusable: Store,
        symprec: float = SYMPREC,
        query: dict[str, Any] | None = None,
        retry: bool = False,
        chunk_size: int = 200,
    ) -> None:
        self.entries = entries
        self.structures = structures
        self.unusable = unusable
        self.symprec = symprec
        self.query = query
        self.retry = retry
        super().__init__(sources=[entries], targets=[structures, unusable], chunk_size=chunk_size)

    def pending(self) -> list[str]:
        """Keys of the entries that have to be worked on, sorted.

        An entry is done if a structure was built from exactly its present content, with this
        tolerance and the present labelling, or if its present content could not be used with it.
        A structure beside which a refusal stands, such as that of a tolerance tried meanwhile, is
        made again: only that takes the refusal back.
        """
        built = self.structures.query(
            {"symprec": self.symprec, "labelling": LABELLING}, ["key", "built_from"]
        )
        again = {"kind": "withdrawn"} if self.retry else {}
        refused = self.unusable.query({"symprec": self.symprec, **again}, ["key", "built_from"])
        disputed = set(self.unusable.distinct("key"))
        done = {(v["key"], v.get("built_from")) for v in built if v["key"] not in disputed}
        done |= {(values["key"], values.get("built_from")) for values in refused}
        entries = self.entries.query(self.query or {}, ["key", "last_updated"])
        return sorted(e["key"] for e in entries if (e["key"], e["last_updated"]) not in done)

    def get_items(self) -> Iterator[dict[str, Any]]:
        """Entries to work on, read from the database a chunk at a time."""
        keys = self.pending()
        self.total = len(keys)
        for start in range(0, len(keys), self.chunk_size):
            some = {"key": {"$in": keys[start : start + self.chunk_size]}}
            for entry in self.entries.query(some):
                entry.pop("_id", None)
                yield entry

    def process_item(self, item: dict[str, Any]) -> dict[str, Any]:
        """Label one entry; see `ebsdsg_flows.builders.entries.label_entry`."""
        return label_entry(item, self.symprec)

    def update_targets(self, items: list[dict[str, Any]]) -> None:
        """Write structures and reasons; a structure that can be used again loses its reason."""
        made = [item["structure"] for item in items if "structure" in item]
        refused = [item["unusable"] for item in items if "unusable" in item]
        if made:
            keys = {"key": {"$in": [values["key"] for values in made]}}
            created = {
                old["key"]: old["created"]
                for old in self.structures.query(keys, ["key", "created"])
            }
            for values in made:
                values["created"] = created.get(values["key"], values["created"])
            self.structures.update(made, key="key")
            self.unusable.remove_docs(keys)
        if refused:
            self.unusable.update(refused, key="key")
