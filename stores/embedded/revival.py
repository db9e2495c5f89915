"""Bring the server back when its keeper was killed with it, from a process that needs it.

The keeper restarts a killed server; if somebody kills both, a worker in the middle of an hour's
simulation would find no database to report to. A process that calls `keep_running` watches its
connections and starts the server again; pymongo then repeats the interrupted command.
"""

from __future__ import annotations

import logging
from pathlib import Path

from pymongo import monitoring

from .lifecycle import ServerError, ensure_running
from .places import PlaceError, Places, read_state

log = logging.getLogger(__name__)


class RestartWhenKilled(monitoring.ServerHeartbeatListener):
    """Starts a data root's server when a heartbeat fails and nobody told the server to stop.

    A server that is stopped in good order removes its state file, a killed one cannot: that
    tells the two apart.

    Parameters
    ----------
    root : data root
    """

    def __init__(self, root: Path | str) -> None:
        self.places = Places.of(root)

    def started(self, event: monitoring.ServerHeartbeatStartedEvent) -> None:
        """Nothing to do."""

    def succeeded(self, event: monitoring.ServerHeartbeatSucceededEvent) -> None:
        """Nothing to do."""

    def failed(self, event: monitoring.ServerHeartbeatFailedEvent) -> None:
        """Start the server again if this is its socket and it was killed."""
        ours = {str(path) for path in (self.places.socket, *self.places.links)}
        if event.connection_id[0] not in ours or read_state(self.places) is None:
            return
        try:
            ensure_running(self.places.root)
        except (ServerError, PlaceError, OSError):
            log.exception("the embedded server of %s could not be restarted", self.places.root)


_watched: set[Path] = set()


def keep_running(root: Path | str) -> str:
    """URI of the data root's server, which this process restarts whenever it is killed.

    Parameters
    ----------
    root : data root

    Returns
    -------
    As `ensure_running`. Clients made after this call, by whatever library, are watched.
    """
    uri = ensure_running(root)
    resolved = Places.of(root).root
    if resolved not in _watched:
        _watched.add(resolved)
        monitoring.register(RestartWhenKilled(resolved))
    return uri
