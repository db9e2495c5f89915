"""Who may read and who may act: the token, the session that it opens, and the names of this server.

The token is compared in constant time and never leaves the settings: a browser gets a session, a
random number that this process knows until somebody logs out, twelve hours have passed, or it ends.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import threading
import time
from dataclasses import dataclass, field

COOKIE = "ebsdsg_session"
SESSION_SECONDS = 12 * 3600
SHORTEST_TOKEN = 16
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


class AccessError(ValueError):
    """The server must not start like this; the message says what to do."""


@dataclass(frozen=True)
class Access:
    """Rules of one server.

    Parameters
    ----------
    token : secret that allows actions, and reading where that is not open; ``None``: no actions.
    open_reading : whether pages are shown without the token.
    hosts : names that a request may give this server; empty allows any.

    Notes
    -----
    The names guard an open server against DNS rebinding: a page on the internet whose name was made
    to point to this machine could read it otherwise.
    """

    token: str | None = field(default=None, repr=False)
    open_reading: bool = True
    hosts: tuple[str, ...] = LOOPBACK_NAMES
    _sessions: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @classmethod
    def of(
        cls, host: str, token: str | None, *, proxy: bool = False, names: tuple[str, ...] = ()
    ) -> Access:
        """Rules for an address to listen on.

        Parameters
        ----------
        host : address or name that the server binds to.
        token : of the settings.
        proxy : whether a reverse proxy passes requests on, from wherever they come.
        names : names under which a reverse proxy is reached.

        Raises
        ------
        AccessError
            If others could reach the server and there is no token, or it is too short.
        """
        if token is not None and len(token) < SHORTEST_TOKEN:
            raise AccessError(
                f"EBSDSG_WEB_TOKEN has {len(token)} characters, at least {SHORTEST_TOKEN} are "
                "needed; `openssl rand -hex 24` makes a good one"
            )
        here = is_loopback(host) and not proxy and not names
        if not here and token is None:
            raise AccessError(
                f"others could reach {host}{' through the proxy' if proxy or names else ''}, so a "
                "token is needed: set EBSDSG_WEB_TOKEN (`openssl rand -hex 24` makes a good one), "
                "or listen on 127.0.0.1 without a proxy"
            )
        return cls(token, here, LOOPBACK_NAMES if here else names)

    def right_token(self, given: str) -> bool:
        """Whether a text is the token, compared in constant time."""
        return self.token is not None and hmac.compare_digest(self.token.encode(), given.encode())

    def session(self, at: float | None = None) -> str:
        """Value of the cookie of somebody who gave the token.

        Parameters
        ----------
        at : time of the login [s since 1970]; now if not given.

        Raises
        ------
        AccessError
            If there is no token.
        """
        if self.token is None:
            raise AccessError("without a token there are no sessions")
        session, now = secrets.token_urlsafe(32), time.time()
        with self._lock:
            for old in [key for key, end in self._sessions.items() if end <= now]:
                del self._sessions[old]
            self._sessions[session] = (now if at is None else at) + SESSION_SECONDS
        return session

    def valid_session(self, value: str) -> bool:
        """Whether a cookie is one of ours and has not ended."""
        with self._lock:
            return self._sessions.get(value, 0.0) > time.time()

    def end_session(self, value: str) -> None:
        """Forget a session; its cookie opens nothing from now on."""
        with self._lock:
            self._sessions.pop(value, None)

    def known_host(self, header: str) -> bool:
        """Whether a ``Host`` header names this server."""
        return not self.hosts or host_name(header) in self.hosts


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is this machine's own, reached from nowhere else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_name(header: str) -> str:
    """Name of a ``Host`` header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()
