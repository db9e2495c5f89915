"""The application: pages, static files, and one page for everything that goes wrong."""

from __future__ import annotations

import gzip
import logging
import mimetypes
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from pymongo.errors import PyMongoError
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.middleware.gzip import GZipMiddleware

from ebsdsg_flows.web.access import Access
from ebsdsg_flows.web.guard import HEADERS, LARGEST_UPLOAD, Guard
from ebsdsg_flows.web.site import STATIC, Site, static_version
from ebsdsg_flows.web.tries import Tries

if TYPE_CHECKING:
    from stores.collections import Stores

log = logging.getLogger(__name__)

FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
PLOTLY = "plotly.min.js"


def create_app(
    stores: Stores,
    root: Path,
    access: Access,
    *,
    largest_upload: int = LARGEST_UPLOAD,
    tries: Tries | None = None,
) -> FastAPI:
    """The web application on an open database.

    Parameters
    ----------
    stores : open database.
    root : data root.
    access : who may read and who may act.
    largest_upload : bytes of the largest request that is taken.
    tries : how often an address may give a wrong token; ten times a minute if not given.
    """
    from ebsdsg_flows.web import campaigns, login, pictures, predict, structures, training, triage

    site = Site(stores, root, access, tries or Tries())
    app = FastAPI(title="ebsdsg", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(GZipMiddleware, minimum_size=1000)
    app.add_middleware(
        Guard,
        access=access,
        tries=site.tries,
        refused=site.problem,
        largest_upload=largest_upload,
    )
    for pages in (campaigns, triage, structures, pictures, training, predict, login):
        app.include_router(pages.router(site))

    @app.get("/static/{version}/{name}")
    def static(version: str, name: str) -> Response:
        return _static_file(version, name)

    _add_error_pages(app, site)
    return app


def _static_file(version: str, name: str) -> Response:
    """One of the packaged files, or plotly.js as its package brings it."""
    known = {entry.name: entry for entry in STATIC.iterdir()}
    if version != static_version() or (name not in known and name != PLOTLY):
        raise HTTPException(404, f"there is no static file {name}")
    if name == PLOTLY:
        headers = {**FOREVER, "Content-Encoding": "gzip"}
        return Response(_plotly(), media_type="text/javascript", headers=headers)
    kind = mimetypes.guess_type(name)[0] or "text/plain"
    return Response(known[name].read_bytes(), media_type=kind, headers=FOREVER)


@lru_cache(maxsize=1)
def _plotly() -> bytes:
    """plotly.js, compressed once: it has several megabytes, and every browser takes gzip."""
    from plotly.offline import get_plotlyjs

    return gzip.compress(get_plotlyjs().encode(), 6)


def _add_error_pages(app: FastAPI, site: Site) -> None:
    @app.exception_handler(AnyHTTPException)
    def refused(request: Request, error: AnyHTTPException) -> HTMLResponse:
        answer = site.problem(request, error.status_code, str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> HTMLResponse:
        lines = [f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors()]
        return site.problem(request, 422, "; ".join(lines))

    @app.exception_handler(PyMongoError)
    def no_database(request: Request, error: PyMongoError) -> HTMLResponse:
        # the text of the error can hold the address of the server: it goes to the log only
        log.error("database: %s", type(error).__name__)
        return site.problem(request, 503, "The database does not answer; see `ebsdsg db status`.")

    @app.exception_handler(Exception)
    def defect(request: Request, error: Exception) -> HTMLResponse:
        answer = site.problem(
            request, 500, "This is a defect of ebsdsg; the log of the server says more."
        )
        answer.headers.update(HEADERS)  # made outside the guard, which adds them otherwise
        return answer
