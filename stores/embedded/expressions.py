"""The one place that reaches into mongomock-ng: aggregation expressions and pipeline stages.

mongomock-ng evaluates the aggregation language well, and that is what it is used for; filters,
updates, order and storage are this package's own. So that ``$match`` and ``$sort`` inside a
pipeline mean the same as in ``find``, four of its entries are replaced here: its filter object,
its ``$match`` and ``$sort`` stages, and the order of values that ``$group`` sorts by. The names
used are not public, hence the upper version bound in pyproject.toml; the contract test tells
whether a newer version still fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from mongomock_ng import aggregate, filtering, helpers

from .errors import DatabaseError, not_implemented
from .values import document_sort_key, sort_key, split_path

# Operators that would run code: JavaScript in MongoDB, eval() or a script engine in mongomock-ng.
SCRIPT_OPERATORS = frozenset({"$where", "$function", "$accumulator"})


class ForeignDatabase(Protocol):
    """What stages that touch other collections need: ``get_collection(name).find(filter)``."""

    name: str

    def get_collection(self, name: str) -> Any:
        """Read access to one collection of the database."""


class _NoDatabase:
    """For stages that see one document only, in updates and projections."""

    name = ""

    def get_collection(self, name: str) -> Any:
        raise DatabaseError(2, f"another collection ({name}) cannot be read here")


NO_DATABASE = _NoDatabase()


def refuse_scripts(value: Any) -> None:
    """Raise if a pipeline or expression contains an operator that runs code.

    Raises
    ------
    DatabaseError
        Code 238, naming the operator.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in SCRIPT_OPERATORS:
                raise not_implemented(f"{key} (it runs code on the server)")
            refuse_scripts(item)
    elif isinstance(value, list):
        for item in value:
            refuse_scripts(item)


def evaluate(
    expression: Any, document: dict[str, Any], variables: dict[str, Any] | None = None
) -> Any:
    """Value of an aggregation expression on a document."""
    return aggregate._parse_expression(expression, document, user_vars=variables)


def is_true(
    expression: Any, document: dict[str, Any], variables: dict[str, Any] | None = None
) -> bool:
    """Truth of an expression, as ``$expr`` sees it (0, null, false and missing are false)."""
    return bool(helpers.mongodb_to_bool(evaluate(expression, document, variables)))


def run_stage(
    documents: list[dict[str, Any]],
    stage: dict[str, Any],
    database: ForeignDatabase,
    variables: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Documents after one stage; the input documents may be changed in place."""
    return list(aggregate.process_pipeline(documents, database, [stage], None, user_vars=variables))


def sort_documents(
    documents: Iterable[dict[str, Any]], keys: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Documents in the order of a sort specification; equal ones keep their order.

    Raises
    ------
    DatabaseError
        For a direction other than 1 and -1.
    """
    ordered = list(documents)
    for path, direction in reversed(list(keys.items())):
        if isinstance(direction, bool) or direction not in (1, -1):
            raise DatabaseError(2, f"sort direction of {path!r} must be 1 or -1, not {direction!r}")
        descending = direction == -1
        if path == "$natural":
            if descending:
                ordered.reverse()
            continue
        parts = split_path(path)
        ordered.sort(
            key=lambda document: document_sort_key(document, parts, descending),
            reverse=descending,
        )
    return ordered


class _Filters:
    """Stands in for mongomock-ng's filter object."""

    def apply(
        self, search_filter: Any, document: Any, user_vars: dict[str, Any] | None = None
    ) -> bool:
        from .matching import compile_filter

        return compile_filter(search_filter, user_vars)(document)


def _match_stage(
    documents: Iterable[Any], database: Any, options: Any, variables: Any
) -> list[dict[str, Any]]:
    from .matching import compile_filter

    test = compile_filter(options, variables)
    return [document for document in documents if test(document)]


def _sort_stage(
    documents: Iterable[Any], database: Any, options: Any, variables: Any
) -> list[dict[str, Any]]:
    if not isinstance(options, Mapping) or not options:
        raise DatabaseError(15976, "$sort needs an object with at least one key")
    return sort_documents(documents, options)


def install() -> None:
    """Put this package's matching and sorting in place of mongomock-ng's, in this process."""
    filtering._filterer_inst = _Filters()  # type: ignore[assignment]
    filtering.BsonComparable = sort_key  # type: ignore[assignment, misc]
    aggregate._PIPELINE_HANDLERS["$match"] = _match_stage
    aggregate._PIPELINE_HANDLERS["$sort"] = _sort_stage


install()
