"""What ended badly, by failure, with its log; and sending it again with other resources."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, HTTPException, Query, Request
from fastapi.responses import Response

from ebsdsg_flows.rerun import RerunError, rerun, seconds_of
from ebsdsg_flows.web.recent import Recent
from ebsdsg_flows.web.site import PAGE, Site
from stores.queries import failures_by_code, timed_out

TIME_OUTS = 50
LARGEST_CODE = 100_000
Code = Annotated[int | None, Query(ge=-LARGEST_CODE, le=LARGEST_CODE)]
FormText = Annotated[str, Form(max_length=200)]


def router(site: Site) -> APIRouter:
    """Pages of the failures.

    Parameters
    ----------
    site : that they belong to.
    """
    pages = APIRouter()
    failures = Recent(lambda: failures_by_code(site.stores))
    time_outs = Recent(lambda: timed_out(site.stores, TIME_OUTS))

    @pages.get("/triage")
    def triage(
        request: Request,
        code: Code = None,
        name: Annotated[str, Query(max_length=200)] = "",
        page: Annotated[int, Query(ge=1, le=100_000)] = 1,
    ) -> Response:
        runs = [] if code is None else _runs(site, code, name, page)
        return site.page(
            request,
            "triage",
            failures=failures.get(),
            time_outs=time_outs.get(),
            code=code,
            name=name,
            runs=runs[:PAGE],
            more=len(runs) > PAGE,
            number=page,
        )

    @pages.post("/triage/rerun")
    def send_again(
        request: Request,
        code: FormText = "",
        material_id: FormText = "",
        campaign: FormText = "",
        state: Literal["", "failed", "timed_out", "lost"] = Form(""),
        walltime: FormText = "",
        threads: Annotated[str, Form(pattern="^[0-9]{0,4}$")] = "",
        anyway: Annotated[bool, Form()] = False,
    ) -> Response:
        if not (code or material_id or campaign or state):
            raise HTTPException(422, "say what is sent again: a failure, a structure, a state")
        if threads and int(threads) < 1:
            raise HTTPException(422, "threads: at least 1")
        try:
            summary = rerun(
                site.stores,
                site.stores.launchpad(),
                campaign=campaign or None,
                states=(state,) if state else (),
                code=_code(code),
                material_id=material_id or None,
                walltime=seconds_of(walltime) if walltime.strip() else None,
                threads=int(threads) if threads else None,
                anyway=anyway,
            )
        except RerunError as error:
            raise HTTPException(422, str(error)) from error
        failures.forget()
        time_outs.forget()
        return site.page(request, "triage_rerun", summary=summary)

    return pages


def _code(text: str) -> int | None:
    try:
        return int(text) if text else None
    except ValueError:
        raise HTTPException(422, "code: must be a whole number") from None


def _runs(site: Site, code: int, name: str, page: int) -> list[dict[str, Any]]:
    """Runs that ended with a failure, latest first, one more than a page; each with what became
    of its simulation since.
    """
    criteria: dict[str, Any] = {"failure.code": code}
    if name:
        criteria["failure.name"] = name
    found = site.stores.runs.find(criteria, {"_id": False}).sort("finished", -1)
    runs = list(found.skip((page - 1) * PAGE).limit(PAGE + 1))
    keys = [run["simulation"] for run in runs if run["simulation"]]
    fields = dict.fromkeys(("key", "state", "formula", "next_action"), True)
    simulations = {
        entry["key"]: entry
        for entry in site.stores.simulations.find({"key": {"$in": keys}}, fields)
    }
    return [{**run, "now": simulations.get(run["simulation"])} for run in runs]
