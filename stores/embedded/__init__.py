"""A MongoDB-protocol database for one machine, started on demand.

``ensure_running(root)`` returns the URI of the server of a data root, starting it if need be;
FireWorks, jobflow, maggma and pymongo use that URI as they would a MongoDB server's. It is meant
for a laptop or one workstation; see the documentation page "The embedded database".
"""

from .lifecycle import ServerError, ServerStatus, ensure_running, status, stop

__all__ = ["ServerError", "ServerStatus", "ensure_running", "status", "stop"]
