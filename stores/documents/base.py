"""What all documents have in common: a key, a schema version, who wrote them and when.

A document is a validated value, not a live object: read it with :meth:`Document.from_mongo`, change
the database through :class:`stores.connect.Stores` and :mod:`stores.states`.  Arrays never go into
documents; they live in files below the data root, and the document holds a :class:`FileReference`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from stores.documents.card import card
from stores.identity import IdentityError, canonical_json
from stores.states import now
from stores.version import code_version

LARGEST_DOCUMENT = 15 * 2**20
"""Bytes of JSON above which a document is refused; MongoDB's own limit is 16 MiB of BSON."""


class DocumentError(ValueError):
    """A document does not follow its schema; the message names the field and what is wrong."""


def _utc(time: datetime) -> datetime:
    """Time in UTC at millisecond resolution; a time without zone is taken as UTC, as in BSON."""
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


Time = Annotated[datetime, AfterValidator(_utc)]
"""A moment in UTC, rounded down to milliseconds."""

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in hexadecimal."""

Name = Annotated[str, Field(min_length=1)]
"""A string that is not empty."""

GroupNumber = Annotated[int, Field(ge=1, le=230)]
"""Number of a space group in the International Tables."""


class Part(BaseModel):
    """A piece of a document: unknown fields, NaN and infinity are refused."""

    model_config = ConfigDict(
        extra="forbid", allow_inf_nan=False, protected_namespaces=(), validate_default=True
    )


class FileReference(Part):
    """A file below the data root, with what is needed to know that it is still the same.

    Attributes
    ----------
    path : relative to the data root, with forward slashes, never leaving it.
    bytes : size of the file.
    sha256 : hash of its content.
    """

    path: Name
    bytes: int = Field(ge=0)
    sha256: Hash

    @model_validator(mode="after")
    def _below_the_root(self) -> Self:
        path = PurePosixPath(self.path)
        if path.is_absolute() or ".." in path.parts or "\\" in self.path:
            raise ValueError(f"path {self.path!r} must be relative to the data root and stay below")
        return self


class Document(Part):
    """Base of every kind of document.

    Attributes
    ----------
    key : what the document is found by; unique in its collection.
    schema_version : version of the model that wrote it.
    created, last_updated : UTC; ``last_updated`` is also maggma's field for incremental builders.
    code_version : version of this code that wrote it first.
    """

    collection: ClassVar[str]
    current_schema: ClassVar[int] = 1

    key: Name
    schema_version: int = 1
    created: Time = Field(default_factory=now)
    last_updated: Time = Field(default_factory=now)
    code_version: Name = Field(default_factory=code_version)

    @model_validator(mode="after")
    def _written_by_a_known_schema(self) -> Self:
        if self.schema_version != self.current_schema:
            raise ValueError(
                f"schema_version is {self.schema_version}, this code reads {self.current_schema}: "
                "use the code version named in the document, or migrate the collection"
            )
        return self

    def to_mongo(self) -> dict[str, Any]:
        """Plain dictionary for pymongo: JSON types and UTC datetimes, without ``_id``.

        Raises
        ------
        DocumentError
            If a free field holds an array, NaN or another object, or the document is too large.
        """
        values = self.model_dump(mode="python")
        plain = _plain(values, "")
        try:
            text = canonical_json(_without_times(plain))
        except IdentityError as error:
            raise DocumentError(f"{type(self).__name__} {self.key}: {error}") from None
        if len(text) > LARGEST_DOCUMENT:
            raise DocumentError(
                f"{type(self).__name__} {self.key} has {len(text) / 2**20:.1f} MiB: put its data "
                "into a file and reference that"
            )
        return plain

    @classmethod
    def from_mongo(cls, values: Mapping[str, Any]) -> Self:
        """Document from what pymongo returned (``_id`` is dropped).

        Raises
        ------
        DocumentError
            If the values do not follow the schema; all problems are named.
        """
        plain = {key: value for key, value in values.items() if key != "_id"}
        try:
            return cls.model_validate(plain)
        except ValidationError as error:
            raise DocumentError(explain(cls.__name__, plain.get("key"), error)) from None

    def _summary(self) -> dict[str, Any]:
        """Fields shown by ``repr``; kinds of document override it."""
        return {}

    def _facts(self) -> dict[str, Any]:
        """Lines of the document in a notebook, values with units; kinds of document override it."""
        return self._summary()

    def _repr_html_(self) -> str:
        written = f"{self.created:%Y-%m-%d %H:%M} UTC, ebsdsg {self.code_version}"
        return card(
            f"{type(self).__name__} {short(self.key)}", {**self._facts(), "written": written}
        )

    def __repr__(self) -> str:
        parts = [short(self.key), *(f"{k}={v}" for k, v in self._summary().items())]
        return f"{type(self).__name__}({', '.join(parts)})"

    __str__ = __repr__


def short(key: str) -> str:
    """First ten digits of a hash, other keys whole."""
    is_hash = len(key) == 64 and all(c in "0123456789abcdef" for c in key)
    return f"{key[:10]}…" if is_hash else key


def explain(name: str, key: object, error: ValidationError) -> str:
    """One line for all problems of a pydantic validation."""
    problems = []
    for problem in error.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in problem["loc"]) or "document"
        problems.append(f"{where}: {problem['msg'].removeprefix('Value error, ')}")
    return f"{name} {key or ''}".rstrip() + f" is not valid: {'; '.join(problems)}"


def _plain(value: Any, path: str) -> Any:
    """BSON-ready copy: enums and other string types as ``str``, tuples as lists."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v, f"{path}.{k}") for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v, f"{path}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, str):
        return str(value)
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()
    return value


def _without_times(value: Any) -> Any:
    """The same with datetimes as text, for the size and content check."""
    if isinstance(value, dict):
        return {k: _without_times(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_times(v) for v in value]
    return value.isoformat() if isinstance(value, datetime) else value
