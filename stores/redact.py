"""Secrets out of text: a connection string is never shown with its password."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

from stores.mongo_uri import MongoURIError

_SECRET_OPTIONS = (
    "tlsCertificateKeyFilePassword|ssl_pem_passphrase|authMechanismProperties|proxyPassword"
)
_USERINFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^:@ \t\r\n\"']*):([^ \t\r\n\"']*)@")
_OPTIONS = re.compile(rf"((?:{_SECRET_OPTIONS})=)[^& \t\r\n\"']*", re.IGNORECASE)
_OPTIONS_OF_URI = re.compile(rf"([?&](?:{_SECRET_OPTIONS})=)([^&]*)", re.IGNORECASE)

_LEAST = 3
"""Letters of a part of a password that is hidden wherever it occurs."""


def redact(text: object, uri: str | None = None) -> str:
    """Text with the password of every URL in it replaced by ``***``.

    Everything between the first ``:`` of the user part and the last ``@`` of the word goes, so that
    a password with unescaped characters is hidden too; passwords among the options go as well.

    Parameters
    ----------
    text : a message, an exception
    uri : connection string the text is about, if it is known. A password with blanks or quotes can
        be told from the text around it only so; it is hidden where it stands without its URI, too.

    Examples
    --------
    >>> redact("cannot reach mongodb://ann:p@ss/word@db.example:27017/ebsdsg")
    'cannot reach mongodb://ann:***@db.example:27017/ebsdsg'
    >>> redact("bad database name 'my secret@db'", "mongodb://dom/ann:my secret@db/")
    "bad database name '***@db'"
    """
    if not uri:
        return _OPTIONS.sub(r"\1***", _USERINFO.sub(r"\1\2:***@", str(text)))
    hidden = "|".join(map(_pattern, _secrets(uri)))
    parts = str(text).split(uri)
    if hidden:  # drivers fold hosts and names of options to lower case
        parts = [re.sub(hidden, "***", part, flags=re.IGNORECASE) for part in parts]
    return redact_uri(uri).join(map(redact, parts))


def driver_words(text: object, uri: str) -> str:
    """What a driver says about a connection string, without its password.

    If the driver may take the user and the password apart otherwise than they were meant, its text
    may hold any piece of the password, also one of a letter or two; then it is left out.

    Parameters
    ----------
    text : an exception or a warning of the driver
    uri : connection string it was given

    Examples
    --------
    >>> driver_words("ab:1: Name or service not known", "mongodb://ann:x@ab?w=1@db.example/")
    "the driver's reason is not shown, for it may hold a part of the password"
    """
    if isinstance(text, MongoURIError):  # ours, without secrets
        return str(text)
    start, _, password, at, _ = _parts(uri)
    if at and re.search("[/?]", start.partition("://")[2] + password):
        return "the driver's reason is not shown, for it may hold a part of the password"
    return redact(text, uri)


@contextmanager
def redacted_warnings(uri: str) -> Iterator[None]:
    """Let warnings about a connection string pass without its password; none if an error follows.

    Parameters
    ----------
    uri : connection string a driver is given inside
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        warnings.warn(driver_words(warning.message, uri), warning.category, stacklevel=3)


def redact_uri(uri: str) -> str:
    """A connection string with everything from the first ``:`` to the last ``@`` hidden.

    Examples
    --------
    >>> redact_uri("mongodb://dom/ann:it's a secret@db.example/")
    'mongodb://dom/ann:***@db.example/'
    """
    start, colon, _, at, end = _parts(uri)
    if colon and at:
        uri = f"{start}:***@{end}"
    return _OPTIONS_OF_URI.sub(r"\1***", uri)


def _parts(uri: str) -> tuple[str, str, str, str, str]:
    """The URI up to the password, ``:`` or nothing, the password, ``@`` or nothing, the rest."""
    scheme, separator, rest = uri.partition("://") if "://" in uri else ("", "", uri)
    before, at, after = rest.rpartition("@")
    user, colon, password = before.partition(":")
    return f"{scheme}{separator}{user}", colon, password, at, after


def _secrets(uri: str) -> list[str]:
    """What must not be shown of a URI: its secrets, decoded too, and their parts; long ones first.

    A driver that takes a password apart at a reserved character complains about a part of it.
    """
    whole = {_parts(uri)[2], *(found[1] for found in _OPTIONS_OF_URI.findall(uri))}
    whole |= {unquote(secret) for secret in whole}
    whole |= {repr(secret)[1:-1] for secret in whole}
    whole |= {secret.lower() for secret in whole}
    pieces = {piece for secret in whole for piece in re.split(r"\W+", secret)}
    pieces = {piece for piece in pieces if len(piece) >= _LEAST}
    return sorted((whole | pieces) - {""}, key=len, reverse=True)


def _pattern(secret: str) -> str:
    """Regular expression of a secret; a very short one only where it is a word of its own."""
    pattern = re.escape(secret)
    return pattern if len(secret) >= _LEAST else rf"(?<!\w){pattern}(?!\w)"
