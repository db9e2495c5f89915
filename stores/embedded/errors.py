"""Errors the embedded server answers with, carrying MongoDB's own numbers.

A driver decides by the number (11000 is a duplicate key, 43 a lost cursor), so every refusal
uses the code a real server would use for the same mistake.
"""

from __future__ import annotations

import logging
from typing import Any

from bson.errors import BSONError

log = logging.getLogger(__name__)

CODE_NAMES = {
    1: "InternalError",
    2: "BadValue",
    9: "FailedToParse",
    14: "TypeMismatch",
    15: "Overflow",
    20: "IllegalOperation",
    26: "NamespaceNotFound",
    27: "IndexNotFound",
    28: "PathNotViable",
    34: "CannotBackfillArray",
    40: "ConflictingUpdateOperators",
    43: "CursorNotFound",
    48: "NamespaceExists",
    52: "DollarPrefixedFieldName",
    54: "NotSingleValueField",
    56: "EmptyFieldName",
    59: "CommandNotFound",
    66: "ImmutableField",
    67: "CannotCreateIndex",
    72: "InvalidOptions",
    73: "InvalidNamespace",
    85: "IndexOptionsConflict",
    86: "IndexKeySpecsConflict",
    100: "UnsatisfiableWriteConcern",
    121: "DocumentValidationFailure",
    171: "CannotIndexParallelArrays",
    197: "InvalidIndexSpecificationOption",
    225: "TransactionTooOld",
    238: "NotImplemented",
    10334: "BSONObjectTooLarge",
    11000: "DuplicateKey",
    40415: "Location40415",
    40573: "Location40573",
}


class DatabaseError(RuntimeError):
    """A command that cannot be carried out; sent to the client as it is.

    Parameters
    ----------
    code : MongoDB error number
    message : what was wrong and what to do about it
    **details : further fields of the reply (``keyPattern``, ``keyValue`` ...)
    """

    def __init__(self, code: int, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    @property
    def reply(self) -> dict[str, Any]:
        """The reply document of a command that failed as a whole."""
        return {
            "ok": 0.0,
            "errmsg": self.message,
            "code": self.code,
            "codeName": CODE_NAMES.get(self.code, f"Location{self.code}"),
            **self.details,
        }

    def write_error(self, index: int) -> dict[str, Any]:
        """The same as one entry of ``writeErrors``, for statement number `index`."""
        return {"index": index, "code": self.code, "errmsg": self.message, **self.details}


def unforeseen(what: str, error: Exception) -> DatabaseError:
    """The reply to an error that no check foresaw: 2 where the client's values may be why, else 1.

    To be called where the error is caught; it goes to the log with its traceback.

    Parameters
    ----------
    what : command that failed
    error : the exception
    """
    log.exception("command %s failed", what)
    mistakes = (BSONError, KeyError, TypeError, ValueError, RecursionError)
    code = 2 if isinstance(error, mistakes) else 1
    return DatabaseError(code, f"{what}: {type(error).__name__}: {error}")


def not_implemented(what: str) -> DatabaseError:
    """Refusal of something MongoDB has and this server has not."""
    return DatabaseError(
        238, f"{what} is not supported by the embedded server; use a MongoDB server for it"
    )
