"""Starting the server."""

from __future__ import annotations

import logging
import sys
import threading

from ebsdsg_flows.session import open_stores
from ebsdsg_flows.settings import get_settings
from ebsdsg_flows.web.access import Access, AccessError

log = logging.getLogger(__name__)


def serve(
    host: str,
    port: int,
    *,
    root_path: str = "",
    proxy: str | None = None,
    names: tuple[str, ...] = (),
) -> None:
    """Serve the pages until Ctrl-C.

    Parameters
    ----------
    host, port : to listen on.
    root_path : path under which a reverse proxy shows the pages, such as ``/ebsdsg``.
    proxy : address of the reverse proxy; only its ``X-Forwarded-*`` headers are believed.
    names : names under which the proxy is reached.

    Raises
    ------
    AccessError
        If others could reach the server and there is no token, or the root path is no path.
    """
    import uvicorn

    from ebsdsg_flows.web.app import create_app

    settings = get_settings()
    root_path = root_path.rstrip("/")
    if root_path and (not root_path.startswith("/") or root_path.startswith("//")):
        raise AccessError(f"the root path {root_path!r} must begin with one slash, as /ebsdsg does")
    token = settings.web_token
    access = Access.of(
        host,
        None if token is None else token.get_secret_value(),
        proxy=proxy is not None,
        names=tuple(name.lower() for name in names),
    )
    app = create_app(open_stores(), settings.root, access)
    rights = "read-only" if token is None else "actions need the token"
    if not access.open_reading:
        rights = "everything needs the token"
    shown = f"[{host}]" if ":" in host else host
    threading.Thread(target=_load_libraries, daemon=True).start()
    print(f"http://{shown}:{port}{root_path}/ ({rights}); Ctrl-C stops it", file=sys.stderr)
    uvicorn.run(
        app,
        host=host,
        port=port,
        root_path=root_path,
        proxy_headers=proxy is not None,
        forwarded_allow_ips=proxy or "",
        server_header=False,
        log_level=settings.log_level.lower(),
        access_log=False,
        timeout_keep_alive=15,
    )


def _load_libraries() -> None:
    """What the first reader of a structure, a run or an answer would wait for: torch and plotly."""
    from ebsdsg_flows.web import figures
    from ebsdsg_ml import predict
    from ebsdsg_sim import energy_map, zone_axes

    figures.workflow([{"stage": "", "unit": "", "states": {"completed": 1}}])
    log.debug("loaded %s, %s, %s", predict.__name__, energy_map.__name__, zone_axes.__name__)
