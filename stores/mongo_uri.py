"""A MongoDB URI from its parts, so that secrets can be kept apart from addresses."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote


class MongoURIError(ValueError):
    """The parts do not make a URI; the message never shows a secret."""


def check_escaped(uri: str) -> None:
    """Refuse a URI whose password a driver would take for a host, a database or options.

    For a driver the address ends at the first ``/`` or ``?``. If that one belongs to a password, it
    would look for a piece of the password in the network, and quote others. An ``@`` behind it
    tells; only the value of an option may hold one.

    Raises
    ------
    MongoURIError
        If there is an ``@`` in the name of the database or of an option.
    """
    address, _, options = uri.partition("://")[2].partition("?")
    database = address.partition("/")[2]
    names = [option.partition("=")[0] for option in re.split("[&;]", options)]
    if any("@" in name for name in (database, *names)):
        raise MongoURIError(
            "there is an @ behind a / or ?, so a driver would misread the user name and password"
        )


def compose(
    uri: str,
    *,
    user: str | None = None,
    password: str | None = None,
    ca_file: Path | None = None,
    certificate: Path | None = None,
    certificate_password: str | None = None,
) -> str:
    """The URI with user, password and TLS options in it.

    Parameters
    ----------
    uri : ``mongodb://host1,host2/?replicaSet=name`` for example; may hold everything already.
    user, password : of the server; any characters.
    ca_file : PEM file of the authority that signed the server's certificate.
    certificate : PEM file with this client's certificate and key.
    certificate_password : of that key.

    Returns
    -------
    URI for pymongo.

    Raises
    ------
    MongoURIError
        If a part is given twice, a file does not exist or a password belongs to nothing.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        raise MongoURIError("mongo_uri must begin with mongodb:// or mongodb+srv://")
    # a password with an unescaped slash is refused later, by the driver
    authority, slash, tail = rest.partition("/")
    if user is not None:
        if "@" in authority:
            raise MongoURIError("the user is in mongo_uri and in mongo_user: leave one of them out")
        secret = "" if password is None else f":{quote(password, safe='')}"
        authority = f"{quote(user, safe='')}{secret}@{authority}"
    elif password is not None:
        raise MongoURIError("mongo_password is set, but mongo_user is not")
    if certificate is None and certificate_password is not None:
        raise MongoURIError("mongo_certificate_password is set, but mongo_certificate is not")
    options = []
    for name, path in (("tlsCAFile", ca_file), ("tlsCertificateKeyFile", certificate)):
        if path is not None:
            if not path.is_file():
                raise MongoURIError(f"{path} does not exist ({name})")
            options.append((name, str(path)))
    if certificate_password is not None:
        options.append(("tlsCertificateKeyFilePassword", certificate_password))
    if options and "tls=" not in tail:
        options.insert(0, ("tls", "true"))
    if not options:
        return f"{scheme}://{authority}{slash}{tail}"
    text = "&".join(f"{name}={quote(value, safe='')}" for name, value in options)
    joint = "&" if "?" in tail else "?"
    return f"{scheme}://{authority}/{tail}{joint}{text}"
