"""maggma stores that connect by URI and do not show its password in their name.

Imported only by those who need maggma (it takes a second or two to import).
"""

from __future__ import annotations

from typing import Any

from maggma.stores import GridFSStore, MongoStore

from stores.redact import redact_uri


class URIStore(MongoStore):
    """A collection reached by URI; an ordinary ``MongoStore`` otherwise.

    maggma's own ``name``, which goes into its log lines, is the URI with the password.
    """

    @property
    def name(self) -> str:
        """Database and collection, with a redacted URI."""
        return f"{redact_uri(self.uri or '')} {self.database}.{self.collection_name}"

    def __repr__(self) -> str:
        return f"URIStore({self.name})"

    def as_dict(self) -> dict[str, Any]:
        """Serialised as a plain ``MongoStore``, so that any maggma can read it."""
        return {**super().as_dict(), "@module": "maggma.stores.mongolike", "@class": "MongoStore"}


class URIGridFSStore(GridFSStore):
    """A GridFS bucket reached by URI; an ordinary ``GridFSStore`` otherwise."""

    @property
    def name(self) -> str:
        """Database and bucket, with a redacted URI."""
        return f"{redact_uri(self.uri or '')} {self.database}.{self.collection_name}"

    def __repr__(self) -> str:
        return f"URIGridFSStore({self.name})"

    def as_dict(self) -> dict[str, Any]:
        """Serialised as a plain ``GridFSStore``, so that any maggma can read it."""
        return {**super().as_dict(), "@module": "maggma.stores.gridfs", "@class": "GridFSStore"}
