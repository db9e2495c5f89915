"""The open database of this process: connected once, from the settings."""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stores.connect import Stores

EMBEDDED_SECONDS = 60.0


@lru_cache(maxsize=1)
def open_stores() -> Stores:
    """Connection to the settings' database, made on the first call.

    Raises
    ------
    stores.connect.DatabaseUnavailable
        If the database of the settings cannot be reached.
    """
    from ebsdsg_flows.cluster.job import in_a_queue
    from ebsdsg_flows.settings import get_settings
    from stores.connect import connect

    settings = get_settings()
    uri = settings.database_uri
    if uri is None and in_a_queue():
        _await_embedded(settings.root)
    return connect(uri, root=settings.root, database=settings.database)


def _await_embedded(root: Path) -> None:
    """Wait for the embedded server, which a queue's job must not start: it would end with the job.

    Raises
    ------
    stores.connect.DatabaseUnavailable
        If it does not answer.
    """
    from stores.connect import DatabaseUnavailable
    from stores.embedded import status

    deadline = time.monotonic() + EMBEDDED_SECONDS
    while status(root) is None:
        if time.monotonic() > deadline:
            raise DatabaseUnavailable(
                f"no database runs for {root}, and a job of a queue does not start one, because it "
                "would end with the job: run `ebsdsg db start` outside the queue on this machine, "
                "or set EBSDSG_MONGO_URI"
            )
        time.sleep(0.5)
