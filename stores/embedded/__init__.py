"""A MongoDB-protocol database for one machine, started on demand.

``ensure_running(root)`` returns the URI of the server of a data root, starting it if need be;
FireWorks, jobflow, maggma and pymongo use that URI as they would a MongoDB server's. It is meant
for a laptop or one workstation; see the documentation page "The embedded database".
"""

from __future__ import annotations

from pathlib import Path

from .lifecycle import ServerError, ServerStatus, ensure_running, status, stop

__all__ = ["ServerError", "ServerStatus", "ensure_running", "keep_running", "status", "stop"]


def keep_running(root: Path | str) -> str:
    """As `ensure_running`, and restart the server if it is killed while this process uses it."""
    from .revival import keep_running  # imports pymongo, which the others do without

    return keep_running(root)
