"""What every request passes before a page sees it, and what every answer carries.

In order: the name of this server, the size of the body, who asks, and for anything that changes
something, from which page it was sent.
"""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import HTTPException, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ebsdsg_flows.web.access import COOKIE, Access
from ebsdsg_flows.web.tries import Tries

LARGEST_UPLOAD = 64 * 2**20
"""Bytes of a request with patterns; one of 16 bits and 4 megapixels is 8 MiB."""

LARGEST_FORM = 64 * 2**10
"""Bytes of any other request."""

BACK = 500
"""Characters of the place that a login leads back to."""

SAFE = ("GET", "HEAD", "OPTIONS")
HEADERS = {
    # the hash is that of nothing: plotly.js makes an empty style element and fills it by script
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' "
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
PUBLIC = ("/login", "/static/")
"""Paths that are shown without the token: the question for it, and its style."""

COMPUTING = ("/predict",)
"""Paths that take a form and answer, but change nothing: who may read may ask them."""


class Guard:
    """ASGI middleware around the whole application.

    Parameters
    ----------
    app : what it guards.
    access : rules of this server.
    tries : how often an address may be wrong.
    refused : makes the page of a refusal that a login would lift, from request, status and
        message.
    largest_upload : bytes; a larger request is refused before it is read.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        tries: Tries,
        refused: Callable[[Request, int, str], Response],
        largest_upload: int = LARGEST_UPLOAD,
    ) -> None:
        self.app = app
        self.access = access
        self.tries = tries
        self.refused = refused
        self.largest_upload = largest_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        scope.setdefault("state", {})["acts"] = False
        only_head = scope["method"] == "HEAD"
        if only_head:
            # a copy: the server looks at its own to know that no body follows
            scope = {**scope, "method": "GET"}

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answer[name] = value
                if "cache-control" not in answer:
                    answer["Cache-Control"] = "no-store"
            elif only_head:
                message = {**message, "body": b""}
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, sending)
            return
        read, largest = 0, self._largest(scope)

        async def receiving() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > largest:
                # one of FastAPI's own, which it does not take for an error in the form
                raise HTTPException(413, _too_much(largest))
            return message

        await self.app(scope, receiving, sending)

    def _refusal(self, scope: Scope, headers: Headers) -> PlainTextResponse | Any | None:
        """Answer to a request that goes no further; ``None`` lets it pass."""
        if not self.access.known_host(headers.get("host", "")):
            return PlainTextResponse(
                "This server is not reached by that name; open it as http://127.0.0.1 with its "
                "port, or start `ebsdsg web` with --name.\n",
                400,
            )
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdecimal()):
            return PlainTextResponse("The Content-Length is not a number.\n", 400)
        largest = self._largest(scope)
        if len(length) > 15 or int(length) > largest:
            return PlainTextResponse(
                _too_much(largest) + "\n", 413, headers={"Connection": "close"}
            )
        acts, wait = self._authenticated(headers, client_address(scope))
        if wait:
            return PlainTextResponse(
                "Refused: too many wrong tokens from this address.\n",
                429,
                headers={"Retry-After": str(wait)},
            )
        scope["state"]["acts"] = acts
        root, path = scope.get("root_path", ""), path_of(scope)
        public = path.startswith(PUBLIC)
        if scope["method"] in SAFE:
            if public or acts or self.access.open_reading:
                return None
            return RedirectResponse(f"{root}/login?back={quote(place(scope), safe='')}", 303)
        if not self._from_here(scope, headers):
            return PlainTextResponse(
                "Refused: this was not sent from a page of this server (its Origin is another, or "
                "missing).\n",
                403,
            )
        asks = path in COMPUTING and self.access.open_reading
        if not (public or acts or asks):
            lacking = "this server is read-only" if self.access.token is None else "log in first"
            return self.refused(Request(scope), 403, f"Refused: {lacking}.")
        return None

    def _authenticated(self, headers: Headers, address: str) -> tuple[bool, int]:
        """Whether the token, or a session that it opened, comes with the request; and the seconds
        to wait if this address was wrong too often for its token to be looked at.
        """
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if wait := self.tries.take(address):
                return False, wait
            if right := self.access.right_token(given.strip()):
                self.tries.give_back(address)
            return right, 0
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False, 0
        return cookie is not None and self.access.valid_session(cookie.value), 0

    def _from_here(self, scope: Scope, headers: Headers) -> bool:
        """Whether a request that changes something was sent by a page of this server.

        Browsers put the Origin on every POST; a program that gives the token itself needs none,
        because no other page can make a browser send it.
        """
        if headers.get("authorization", "").lower().startswith("bearer "):
            return True
        site = headers.get("sec-fetch-site", "same-origin")
        return site == "same-origin" and headers.get("origin") == (
            f"{scope['scheme']}://{headers.get('host', '')}"
        )

    def _largest(self, scope: Scope) -> int:
        """Bytes that the body of a request may have."""
        patterns = path_of(scope) in COMPUTING
        return self.largest_upload if patterns else min(LARGEST_FORM, self.largest_upload)


def client_address(scope: Scope) -> str:
    """Address of who asks: the one of the connection, or what a believed proxy says of it."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def place(scope: Scope) -> str:
    """Path and query of the page that somebody is on, below the path of the proxy.

    A form was sent from the page that the ``Referer`` names; where that is none of this server's,
    or too long to be kept, the place is the first page.
    """
    path, query = quote(path_of(scope)), scope.get("query_string", b"").decode("latin-1")
    if scope["method"] not in SAFE:
        headers = Headers(scope=scope)
        sent_from = urlsplit(headers.get("referer", ""))
        if sent_from.netloc != headers.get("host", ""):
            return "/"
        path = sent_from.path.removeprefix(scope.get("root_path", ""))
        query = sent_from.query
    found = f"{path}?{query}" if query else path
    return here(found) if len(found) <= BACK else "/"


def here(back: str) -> str:
    """A path of this server with its query, whatever was asked for: ``//elsewhere`` is another."""
    ours = back.startswith("/") and not back.startswith(("//", "/\\")) and back.isprintable()
    return back if ours else "/"


def path_of(scope: Scope) -> str:
    """Path that was asked for, below the path of the proxy."""
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


def _too_much(largest: int) -> str:
    return f"Refused: more than {largest / 2**20:.3g} MiB."
