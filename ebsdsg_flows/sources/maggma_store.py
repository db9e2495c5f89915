"""Structures in any maggma store, described by the dictionary that maggma itself writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ebsdsg_flows.atoms import StructureError
from ebsdsg_flows.sources.items import (
    Outside,
    Refused,
    SourceError,
    SourceItem,
    Wanted,
    every_entry,
    item_of_row,
)
from stores.redact import redact

if TYPE_CHECKING:
    from maggma.core import Store

SUFFIXES = (".yaml", ".yml", ".json")


def described_store(path: Path) -> Store:
    """Store that a YAML or JSON file describes with ``@module``, ``@class`` and its arguments.

    Raises
    ------
    SourceError
        If the file does not describe a store of maggma.
    """
    from maggma.core import Store

    content = _content(path)
    try:
        found = getattr(import_module(str(content["@module"])), str(content["@class"]))
    except (KeyError, ImportError, AttributeError, ValueError) as error:
        raise SourceError(
            f"{path}: must hold the @module and @class of a maggma store and its arguments "
            f"({type(error).__name__}: {error})"
        ) from None
    if not (isinstance(found, type) and issubclass(found, Store)):
        raise SourceError(f"{path}: {content['@class']} is not a store of maggma")
    try:
        store = cast(Store, found.from_dict(content))
    except Exception as error:
        raise SourceError(
            f"{path}: {found.__name__} refuses these arguments: {redact(error)}"
        ) from None
    return store


def is_store_file(path: Path) -> bool:
    """Whether a YAML or JSON file describes an object of maggma (a campaign file does not)."""
    return path.name.lower().endswith(SUFFIXES) and "@class" in _content(path)


def store_items(
    store: Store, *, strict: bool, wanted: Wanted = every_entry
) -> Iterator[SourceItem | Refused | Outside]:
    """Entries of a store, in the order of their identifiers; it is closed afterwards.

    Parameters
    ----------
    store : its documents have ``material_id`` (or ``task_id``, or the store's key) and
        ``structure``, and what else :func:`~ebsdsg_flows.sources.items.item_of_row` knows; a
        summary of the Materials Project does
    strict : raise on the first bad entry
    wanted : the structures of documents that it refuses are not looked at

    Raises
    ------
    SourceError
        If the store cannot be opened.
    StructureError
        In strict mode, for the first bad entry.
    """
    name = redact(store.name)
    try:
        store.connect()
    except Exception as error:
        raise SourceError(f"{name}: cannot be opened: {redact(error)}") from None
    seen: set[str] = set()
    try:
        for i, document in enumerate(store.query(sort={store.key: 1}), 1):
            label = str(document.get(store.key) or f"document {i}")
            try:
                row = {"material_id": document.get(store.key), **_known(document)}
                if label in seen:
                    raise StructureError(f"{label}: is given twice in {name}")
                seen.add(label)
                yield item_of_row(row, name, kind="maggma", label=label, wanted=wanted)
            except StructureError as error:
                if strict:
                    raise
                yield Refused(label, str(error))
    finally:
        store.close()


def _known(document: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a document as a row has them; those of a Materials Project summary included."""
    row = {key: value for key, value in document.items() if value is not None}
    if not isinstance(row.get("source"), str):
        row.pop("source", None)
    symmetry = row.get("symmetry")
    if "spacegroup_number" not in row and isinstance(symmetry, Mapping):
        row["spacegroup_number"] = symmetry.get("number")
    return row


def _content(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        # JSON is YAML
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, YAMLError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: not readable as YAML or JSON: {error}") from None
    if not isinstance(content, dict):
        raise SourceError(f"{path}: must hold a mapping")
    return content
