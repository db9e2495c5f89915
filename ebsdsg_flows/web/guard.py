"""What every request passes before a page sees it, and what every answer carries.

In order: the name of this server, the size of the body, who asks, and for anything that changes
something, from which page it was sent.
"""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ebsdsg_flows.web.access import COOKIE, Access

LARGEST_BODY = 32 * 2**20
"""Bytes of a request's body; a pattern image of 16 bits and 4 megapixels is 8 MiB."""

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
    largest_body : bytes; a larger request is refused before it is read.
    """

    def __init__(self, app: ASGIApp, access: Access, largest_body: int = LARGEST_BODY) -> None:
        self.app = app
        self.access = access
        self.largest_body = largest_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        scope.setdefault("state", {})["acts"] = self._authenticated(headers)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answer[name] = value
                if "cache-control" not in answer:
                    answer["Cache-Control"] = "no-store"
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, sending)
            return
        read = 0

        async def receiving() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.largest_body:
                # one of FastAPI's own, which it does not take for an error in the form
                raise HTTPException(413, self._limit())
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
        if int(length) > self.largest_body:
            return PlainTextResponse(self._limit() + "\n", 413, headers={"Connection": "close"})
        root = scope.get("root_path", "")
        path = scope["path"].removeprefix(root)
        public = path.startswith(PUBLIC)
        acts = scope["state"]["acts"]
        if scope["method"] in SAFE:
            if public or acts or self.access.open_reading:
                return None
            here = quote(path, safe="/")
            return RedirectResponse(f"{root}/login?back={quote(here, safe='')}", 303)
        if not self._from_here(scope, headers):
            return PlainTextResponse(
                "Refused: this was not sent from a page of this server (its Origin is another, or "
                "missing).\n",
                403,
            )
        asks = path in COMPUTING and self.access.open_reading
        if not (public or acts or asks):
            return PlainTextResponse("Refused: this needs the token; log in first.\n", 403)
        return None

    def _authenticated(self, headers: Headers) -> bool:
        """Whether the token, or a session that it opened, comes with the request."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.access.right_token(given.strip())
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and self.access.valid_session(cookie.value)

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

    def _limit(self) -> str:
        return f"Refused: more than {self.largest_body / 2**20:.0f} MiB."
