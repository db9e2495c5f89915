"""How often an address may give a token that is wrong: ten times a minute."""

from __future__ import annotations

import hashlib
import ipaddress
import math
import os
import threading
import time
from array import array
from collections.abc import Callable

LIMIT = 10
SECONDS = 60.0
PLACES = 4096
"""Addresses told apart; the memory is that of ``LIMIT * PLACES`` numbers, whoever tries."""


class Tries:
    """The last tries of every address.

    Parameters
    ----------
    limit : tries that an address has in any `seconds`.
    seconds : see there.
    clock : seconds that only grow.

    Notes
    -----
    An address is kept as a place in a table of fixed size.  Two may share one, but nobody can
    choose with whom: the place follows from a key that this process drew.
    """

    def __init__(
        self,
        limit: int = LIMIT,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._seconds = seconds
        self._clock = clock
        self._times = array("d", [-math.inf]) * (limit * PLACES)
        self._next = array("H", [0]) * PLACES
        self._key = os.urandom(32)
        self._lock = threading.Lock()

    def take(self, address: str) -> int:
        """Count a try, if the address has one left.

        Parameters
        ----------
        address : of the client, as the server or the proxy that it believes says.

        Returns
        -------
        0, or the seconds after which there is a try again; nothing is counted then.
        """
        place, now = self._place(address), self._clock()
        with self._lock:
            slot = place * self._limit + self._next[place]
            wait = self._times[slot] + self._seconds - now
            if wait > 0:
                return math.ceil(wait)
            self._times[slot] = now
            self._next[place] = (self._next[place] + 1) % self._limit
            return 0

    def give_back(self, address: str) -> None:
        """Forget the last try of an address, which was right."""
        place = self._place(address)
        with self._lock:
            self._next[place] = (self._next[place] - 1) % self._limit
            self._times[place * self._limit + self._next[place]] = -math.inf

    def _place(self, address: str) -> int:
        digest = hashlib.blake2b(_network(address).encode(), key=self._key, digest_size=8).digest()
        return int.from_bytes(digest) % PLACES


def _network(address: str) -> str:
    """What counts as one client: an IPv4 address, or the 64 bits that an IPv6 network has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((int(found), 64), strict=False))
    return str(found)
