"""Stages that change one document at a time: ``$project``, ``$addFields``, ``$unset``, new roots.

Projections of ``find`` and updates by a pipeline use them as well. A specification becomes a tree
of field names; the walk along it makes new documents and leaves the given ones as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bson import Decimal128

from .errors import DatabaseError
from .expressions import Evaluator, compile_expression, field_path, scope_of
from .expressions.scopes import Scope, is_operator
from .values import MISSING

Reshaping = Callable[[dict[str, Any]], dict[str, Any]]
"""Makes a new document from one."""

Variables = Mapping[str, Any] | None

Entry = tuple[tuple[str, ...], Any]
"""Path, and what a specification says of it."""


@dataclass
class Tree:
    """Fields of a document that a specification names.

    Attributes
    ----------
    leaves : what computes the field; None for one that is kept or dropped as it is
    branches : fields of which parts are named
    """

    leaves: dict[str, Evaluator | None] = field(default_factory=dict)
    branches: dict[str, Tree] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)

    def grow(self, path: tuple[str, ...], leaf: Evaluator | None, collision: int = 31249) -> None:
        """Add a path.

        Raises
        ------
        DatabaseError
            With the code `collision` if one path lies inside another or is there twice.
        """
        tree = self
        for part in path[:-1]:
            if part in tree.leaves:
                raise DatabaseError(collision, f"Path collision at {'.'.join(path)}")
            if part not in tree.branches:
                tree.branches[part] = Tree()
                tree.order.append(part)
            tree = tree.branches[part]
        if path[-1] in tree.leaves or path[-1] in tree.branches:
            raise DatabaseError(collision, f"Path collision at {'.'.join(path)}")
        tree.leaves[path[-1]] = leaf
        tree.order.append(path[-1])

    @property
    def computes(self) -> bool:
        """True if a field in it is computed."""
        return any(leaf is not None for leaf in self.leaves.values()) or any(
            branch.computes for branch in self.branches.values()
        )

    def include(self, document: dict[str, Any], scope: Scope) -> dict[str, Any]:
        """The named fields of a document, and the computed ones."""
        result = {}
        for name, value in document.items():
            if name in self.branches:
                if isinstance(value, dict | list):
                    result[name] = self.branches[name]._include_inside(value, scope)
            elif self.leaves.get(name, MISSING) is None:
                result[name] = value
        for name in self.order:
            if name in self.branches:
                if name not in result and self.branches[name].computes:
                    result[name] = self.branches[name].include({}, scope)
            elif self.leaves[name] is not None:
                self._compute(result, name, scope)
        return result

    def _include_inside(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, dict):
            return self.include(value, scope)
        if isinstance(value, list):
            items = (self._include_inside(item, scope) for item in value)
            return [item for item in items if item is not MISSING]
        return self.include({}, scope) if self.computes else MISSING

    def add(self, document: dict[str, Any], scope: Scope) -> dict[str, Any]:
        """The document with the computed fields set, in each element of arrays on the way."""
        result = dict(document)
        for name in self.order:
            if name in self.branches:
                result[name] = self.branches[name]._add_inside(result.get(name), scope)
            else:
                self._compute(result, name, scope)
        return result

    def _add_inside(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, list):
            return [self._add_inside(item, scope) for item in value]
        return self.add(value if isinstance(value, dict) else {}, scope)

    def _compute(self, result: dict[str, Any], name: str, scope: Scope) -> None:
        evaluate = self.leaves[name]
        assert evaluate is not None
        value = evaluate(scope)
        if value is MISSING:
            result.pop(name, None)
        else:
            result[name] = value

    def exclude(self, value: Any) -> Any:
        """The value without the named fields, in each element of arrays on the way."""
        if isinstance(value, list):
            return [self.exclude(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {
            name: self.branches[name].exclude(item) if name in self.branches else item
            for name, item in value.items()
            if name not in self.leaves
        }


def entries(specification: Any, empty: int, prefix: tuple[str, ...] = ()) -> Iterator[Entry]:
    """Paths of a specification: ``{"a": {"b": 1}}`` says the same as ``{"a.b": 1}``.

    Parameters
    ----------
    specification : fields, dotted or nested
    empty : error number for a document without fields
    prefix : path of the specification
    """
    if not isinstance(specification, Mapping) or not specification:
        place = ".".join(prefix) or "the specification"
        raise DatabaseError(empty, f"an empty object is not a valid value, found at {place}")
    for name, value in specification.items():
        path = prefix + field_path(name)
        if isinstance(value, Mapping) and not is_operator(value):
            yield from entries(value, empty, path)
        else:
            yield path, value


def is_flag(value: Any) -> bool:
    """True for what includes or excludes a field: booleans and numbers."""
    return isinstance(value, bool | int | float | Decimal128)


def flag(value: Any) -> bool:
    """Whether a flag includes the field."""
    return bool(value.to_decimal() if isinstance(value, Decimal128) else value)


def compile_selection(
    selected: Iterable[Entry], variables: Variables = None, *, including: bool | None = None
) -> Reshaping:
    """Compile the paths of a projection.

    Parameters
    ----------
    selected : paths with a flag or an expression
    variables : values of ``let``
    including : whether fields that are not named are left out; None if the flags decide

    Raises
    ------
    DatabaseError
        When inclusion and exclusion are mixed (31253, 31254), or paths collide (31249).
    """
    pairs = list(selected)
    ways = [
        not is_flag(value) or flag(value)
        for path, value in pairs
        if path != ("_id",) or not is_flag(value)
    ]
    if including is None:
        including = ways[0] if ways else any(is_flag(value) and flag(value) for _, value in pairs)
    if including and not all(ways):
        raise DatabaseError(31254, "Cannot do exclusion in inclusion projection")
    if not including and any(ways):
        raise DatabaseError(31253, "Cannot do inclusion in exclusion projection")
    tree = Tree()
    if including and not any(path[0] == "_id" for path, _ in pairs):
        tree.grow(("_id",), None)
    names = frozenset(variables or ())
    for path, value in pairs:
        if not is_flag(value):
            tree.grow(path, compile_expression(value, names))
        elif flag(value) is including:
            tree.grow(path, None)
    if not including:
        return tree.exclude
    return lambda document: tree.include(document, scope_of(document, variables))


def _project(options: Any, variables: Variables) -> Reshaping:
    return compile_selection(entries(options, 51270 if options else 51272), variables)


def _add_fields(options: Any, variables: Variables) -> Reshaping:
    tree, names = Tree(), frozenset(variables or ())
    for path, value in entries(options, 40180 if options else 40177):
        tree.grow(path, compile_expression(value, names), 40176)
    return lambda document: tree.add(document, scope_of(document, variables))


def _unset(options: Any, variables: Variables) -> Reshaping:
    paths = [options] if isinstance(options, str) else options
    if not isinstance(paths, list) or not paths:
        raise DatabaseError(31002, "$unset needs a string or an array of strings")
    tree = Tree()
    for path in paths:
        if not isinstance(path, str) or not path:
            raise DatabaseError(31120, "$unset needs strings that are not empty")
        tree.grow(field_path(path), None)
    return tree.exclude


def _replace_root(options: Any, variables: Variables) -> Reshaping:
    if not isinstance(options, Mapping):
        raise DatabaseError(40229, "$replaceRoot needs an object")
    if set(options) != {"newRoot"}:
        raise DatabaseError(40231, "$replaceRoot needs newRoot and nothing else")
    return _replace_with(options["newRoot"], variables)


def _replace_with(options: Any, variables: Variables) -> Reshaping:
    evaluate = compile_expression(options, frozenset(variables or ()))

    def replace(document: dict[str, Any]) -> dict[str, Any]:
        value = evaluate(scope_of(document, variables))
        if not isinstance(value, dict):
            raise DatabaseError(
                40228, f"'newRoot' expression must evaluate to an object, not {value!r}"
            )
        return value

    return replace


RESHAPING: dict[str, Callable[[Any, Variables], Reshaping]] = {
    "$addFields": _add_fields,
    "$set": _add_fields,
    "$project": _project,
    "$unset": _unset,
    "$replaceRoot": _replace_root,
    "$replaceWith": _replace_with,
}
"""Stages by name; they are also those that an update may consist of."""
