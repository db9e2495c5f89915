"""Which stored structures count no more, because their entry cannot be used.

A structure and the reason why none could be made of its entry may stand side by side: they are of
two contents of the entry, or of two tolerances.  A refusal at one tolerance says nothing about a
structure made of the same content at another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stores.collections import Stores

_FIELDS = dict.fromkeys(("key", "kind", "symprec", "built_from", "last_updated"), True)
_BATCH = 1000


def outlasts(refusal: Mapping[str, Any], structure: Mapping[str, Any]) -> bool:
    """Whether a refusal stands whatever tolerance a structure of the same key was made with.

    Parameters
    ----------
    refusal : values of a `stores.documents.UnusableStructureDocument`.
    structure : values of the `stores.documents.StructureDocument` of the same key.

    Returns
    -------
    True if its source has withdrawn the entry, or the refusal is of a newer content of it.
    """
    if refusal["kind"] == "withdrawn":
        return True
    content = refusal.get("built_from")
    # what was made of no entry was given no later than it was written
    return content is not None and content > (
        structure.get("built_from") or structure["last_updated"]
    )


def hides(refusal: Mapping[str, Any], structure: Mapping[str, Any]) -> bool:
    """Whether a structure counts no more because of a refusal of the same key.

    Parameters
    ----------
    refusal, structure : as of `outlasts`.

    Returns
    -------
    True if the refusal outlasts it, or was met at the structure's own tolerance.
    """
    return refusal["symprec"] == structure["symprec"] or outlasts(refusal, structure)


def hidden_structures(stores: Stores, keys: Iterable[str] | None = None) -> set[str]:
    """Keys of the stored structures that count no more, see `hides`.

    Parameters
    ----------
    stores : open stores.
    keys : structures asked about; ``None`` asks about all.
    """
    asked = {} if keys is None else {"key": {"$in": list(keys)}}
    refusals = {found["key"]: found for found in stores.unusable_structures.find(asked, _FIELDS)}
    refused = list(refusals)
    hidden: set[str] = set()
    for start in range(0, len(refused), _BATCH):
        some = {"key": {"$in": refused[start : start + _BATCH]}}
        hidden |= {
            found["key"]
            for found in stores.structures.find(some, _FIELDS)
            if hides(refusals[found["key"]], found)
        }
    return hidden


def forget_refusal(stores: Stores, key: str) -> None:
    """Remove the reason why a structure could not be made, now that it could.

    What outlasts the stored structure stays.

    Parameters
    ----------
    stores : open stores.
    key : of the structure, which the database has.
    """
    refusal = stores.unusable_structures.find_one({"key": key}, _FIELDS)
    structure = stores.structures.find_one({"key": key}, _FIELDS)
    if refusal is None or structure is None or outlasts(refusal, structure):
        return
    # one that was written meanwhile is another
    stores.unusable_structures.delete_one({"key": key, "last_updated": refusal["last_updated"]})
