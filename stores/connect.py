"""One way to the database: a URI, the environment, or the embedded server of a data root.

:func:`connect` finds the server, starting the embedded one if no other is named, creates the
indexes and returns :class:`stores.collections.Stores`.  A URI is a secret: no message shows its
password.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from stores.collections import Stores, client_options
from stores.indexes import create_indexes
from stores.mongo_uri import check_escaped
from stores.redact import driver_words, redact_uri, redacted_warnings

URI_VARIABLE = "EBSDSG_MONGO_URI"
ROOT_VARIABLE = "EBSDSG_ROOT"
DEFAULT_DATABASE = "ebsdsg"

EMBEDDED_PATIENCE = 60.0
"""Seconds that clients of the embedded server wait for it to come back after it was killed."""


class DatabaseUnavailable(RuntimeError):
    """No database could be reached; the message says which was tried and what to do."""


def connect(
    uri: str | None = None,
    *,
    root: Path | None = None,
    database: str | None = None,
    timeout: float = 5.0,
) -> Stores:
    """Connect to the database, starting the embedded server if no other is named.

    Parameters
    ----------
    uri : MongoDB connection string.  ``None`` takes ``EBSDSG_MONGO_URI`` from the environment, and
        without that the embedded server of ``root``.
    root : data root whose embedded server is used; ``None`` takes ``EBSDSG_ROOT``, else
        ``.ebsdsg`` in the current directory.
    database : name of the database; ``None`` takes the one in the URI's path, else ``ebsdsg``.
    timeout : seconds to wait for a server that is not the embedded one.

    Returns
    -------
    Connected :class:`Stores`, all indexes present.

    Raises
    ------
    DatabaseUnavailable
        If the URI is wrong, nothing answers within ``timeout``, or the server refuses the user.
    stores.embedded.places.PlaceError
        If no database can be kept in ``root``, or one is served there from another host.
    stores.embedded.lifecycle.ServerError
        If the embedded server of ``root`` cannot be started.
    """
    from pymongo import MongoClient
    from pymongo.errors import (
        ConfigurationError,
        ConnectionFailure,
        OperationFailure,
        PyMongoError,
    )

    uri, embedded_root = locate(uri, root)
    if embedded_root is not None:
        # it answered a moment ago; while its keeper restarts it, clients wait instead of failing
        timeout = max(timeout, EMBEDDED_PATIENCE)
    shown = redact_uri(uri)
    try:
        check_escaped(uri)
        with redacted_warnings(uri):
            # reading the name first finds mistakes in the URI before anything is looked for
            name = database or _database_in(uri) or DEFAULT_DATABASE
            client: MongoClient[dict[str, Any]] = MongoClient(uri, **client_options(timeout))
        try:
            client.admin.command("ping")
            create_indexes(client[name])
        except BaseException:
            client.close()
            raise
    except (ConfigurationError, ValueError) as error:
        raise DatabaseUnavailable(
            f"{shown} is not a usable MongoDB URI: {driver_words(error, uri)}. "
            "Write mongodb://user:password@host:port/, with special characters percent-encoded"
        ) from None
    except ConnectionFailure as error:
        reason = driver_words(error, uri).split(", Timeout:")[0]
        raise DatabaseUnavailable(
            f"no MongoDB answers at {shown} within {timeout:g} s ({reason}). "
            f"Check the address, or unset {URI_VARIABLE} to use the embedded database"
        ) from None
    except OperationFailure as error:
        raise DatabaseUnavailable(
            f"the MongoDB at {shown} refuses (code {error.code}): "
            f"{driver_words(error.details or error, uri)}"
        ) from None
    except PyMongoError as error:
        raise DatabaseUnavailable(
            f"the MongoDB at {shown} fails: {driver_words(error, uri)}"
        ) from None
    return Stores(client, uri, name, timeout=timeout, root=embedded_root)


def locate(uri: str | None = None, root: Path | None = None) -> tuple[str, Path | None]:
    """URI to use, and the data root whose embedded server it is (``None`` for any other server).

    Starts the embedded server if that is what is used and it does not run; raises as
    :func:`connect` if it cannot.
    """
    uri = uri or os.environ.get(URI_VARIABLE) or None
    if uri is not None:
        return uri, None
    from stores.embedded import ensure_running

    root = Path(root or os.environ.get(ROOT_VARIABLE) or ".ebsdsg").expanduser().absolute()
    return ensure_running(root), root


def _database_in(uri: str) -> str | None:
    """Database named in the URI's path."""
    from pymongo.uri_parser import parse_uri

    if uri.startswith("mongodb+srv://"):
        # parse_uri would ask the name server again; the path is all that is wanted here
        path = uri.removeprefix("mongodb+srv://").split("?")[0].partition("/")[2]
        return path or None
    return parse_uri(uri)["database"]
