"""Secrets out of text: a connection string is never shown with its password."""

from __future__ import annotations

import re

_USERINFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^:@/ \t\r\n\"']*):([^ \t\r\n\"']*)@")
_OPTIONS = re.compile(
    r"((?:tlsCertificateKeyFilePassword|ssl_pem_passphrase|authMechanismProperties|proxyPassword)=)"
    r"[^& \t\r\n\"']*",
    re.IGNORECASE,
)


def redact(text: object) -> str:
    """Text with the password of every URL in it replaced by ``***``.

    Everything between the first ``:`` of the user part and the last ``@`` of the word goes, so that
    a password with unescaped characters is hidden too; passwords among the options go as well.

    Examples
    --------
    >>> redact("cannot reach mongodb://ann:p@ss/word@db.example:27017/ebsdsg")
    'cannot reach mongodb://ann:***@db.example:27017/ebsdsg'
    """
    return _OPTIONS.sub(r"\1***", _USERINFO.sub(r"\1\2:***@", str(text)))
