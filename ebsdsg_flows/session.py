"""The open database of this process: connected once, from the settings."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stores.connect import Stores


@lru_cache(maxsize=1)
def open_stores() -> Stores:
    """Connection to the settings' database, made on the first call.

    Raises
    ------
    stores.connect.DatabaseUnavailable
        If the database of the settings cannot be reached.
    """
    from ebsdsg_flows.settings import get_settings
    from stores.connect import connect

    settings = get_settings()
    return connect(settings.mongo_uri, root=settings.root, database=settings.database)
