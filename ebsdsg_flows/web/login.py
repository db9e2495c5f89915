"""Giving the token once, for a session in this browser."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response

from ebsdsg_flows.web.access import COOKIE, SESSION_SECONDS
from ebsdsg_flows.web.guard import BACK, client_address, here
from ebsdsg_flows.web.site import Site


def router(site: Site) -> APIRouter:
    """Pages to log in and out.

    Parameters
    ----------
    site : that they belong to.
    """
    pages = APIRouter()

    @pages.get("/login")
    def login_page(
        request: Request, back: Annotated[str, Query(max_length=BACK)] = "/"
    ) -> Response:
        if site.access.token is None:
            raise HTTPException(404, "this server has no token: it is read-only")
        return site.page(request, "login", back=here(back))

    @pages.post("/login")
    def login(
        request: Request,
        token: Annotated[str, Form(max_length=500)],
        back: Annotated[str, Form(max_length=BACK)] = "/",
    ) -> Response:
        address = client_address(request.scope)
        if wait := site.tries.take(address):
            # whether the token is right is not said: it could be guessed otherwise
            refused = site.page(request, "login", status=429, back=here(back), wait=wait)
            refused.headers["Retry-After"] = str(wait)
            return refused
        if not site.access.right_token(token):
            return site.page(request, "login", status=403, back=here(back), wrong=True)
        site.tries.give_back(address)
        base = request.scope.get("root_path", "")
        answer = RedirectResponse(base + here(back), 303)
        answer.set_cookie(
            COOKIE,
            site.access.session(),
            max_age=SESSION_SECONDS,
            path=base or "/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return answer

    @pages.post("/logout")
    def logout(request: Request) -> Response:
        site.access.end_session(request.cookies.get(COOKIE, ""))
        base = request.scope.get("root_path", "")
        answer = RedirectResponse(f"{base}/", 303)
        answer.delete_cookie(COOKIE, path=base or "/", httponly=True, samesite="strict")
        return answer

    return pages
