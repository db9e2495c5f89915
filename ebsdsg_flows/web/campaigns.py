"""The campaigns and one campaign: what ``ebsdsg status`` counts, kept a few seconds."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from ebsdsg_flows.overview import overview
from ebsdsg_flows.stages import campaign_stages
from ebsdsg_flows.status import STATES
from ebsdsg_flows.web.figures import workflow
from ebsdsg_flows.web.recent import Recent
from ebsdsg_flows.web.site import Site
from stores.queries import counts

if TYPE_CHECKING:
    from stores.collections import Stores

FRESH = 5.0
"""Seconds for which counts are shown again, at least; older ones are counted anew meanwhile."""

WAIT = 0.15
"""Seconds that a first reader waits for the counts; then the page comes without, and asks again."""


class Overviews:
    """Overviews of campaigns, each counted by one thread at a time.

    Parameters
    ----------
    stores : open database.

    Notes
    -----
    Counting a campaign reads all its members and runs: more than a second for five thousand.  With
    fifty readers that is done once; they see the last counts, with their age, meanwhile, and at
    most a tenth of the time is spent on it.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._known: dict[str, tuple[float, float, dict[str, Any]]] = {}
        self._counting: dict[str, threading.Thread] = {}
        self._failed: dict[str, Exception] = {}
        self._lock = threading.Lock()

    def get(self, campaign: dict[str, Any]) -> tuple[dict[str, Any], float] | None:
        """Overview of a campaign and its age [s]; ``None`` while it is counted the first time.

        Parameters
        ----------
        campaign : its document.

        Raises
        ------
        Exception
            Whatever went wrong when it was counted last, once.
        """
        name = campaign["key"]
        mine = None
        with self._lock:
            known = self._known.get(name)
            counting = self._counting.get(name)
            old = known is None or time.monotonic() - known[0] > max(FRESH, 10 * known[1])
            if old and (counting is None or not counting.is_alive()):
                counting = mine = threading.Thread(
                    target=self._count, args=(campaign,), daemon=True
                )
                self._counting[name] = counting
                counting.start()
        # who asks first, and who would see nothing, waits a little
        if counting is not None and (known is None or mine is not None):
            counting.join(WAIT)
            known = self._known.get(name)
        with self._lock:
            error = self._failed.pop(name, None)
        if error is not None:
            raise error
        return None if known is None else (known[2], time.monotonic() - known[0])

    def _count(self, campaign: dict[str, Any]) -> None:
        name, begun = campaign["key"], time.monotonic()
        try:
            found = overview(self._stores, campaign)
            found["figure"] = workflow(campaign_stages(self._stores, campaign, found))
        except Exception as error:  # told to the next reader, who would wait for ever otherwise
            with self._lock:
                self._failed[name] = error
            return
        now = time.monotonic()
        self._known[name] = now, now - begun, found


def router(site: Site) -> APIRouter:
    """Pages of the campaigns.

    Parameters
    ----------
    site : that they belong to.
    """
    pages = APIRouter()
    overviews = Overviews(site.stores)
    listed = Recent(lambda: _listed(site))

    @pages.get("/")
    def campaigns(request: Request) -> Response:
        found, everything = listed.get()
        return site.page(request, "campaigns", campaigns=found, everything=everything)

    @pages.get("/campaigns/{name}")
    def campaign(request: Request, name: str) -> Response:
        document = site.stores.campaigns.find_one({"key": name}, {"_id": False})
        if document is None:
            raise HTTPException(404, f"there is no campaign {name!r}")
        counted = overviews.get(document)
        # htmx asks for the counts alone, every few seconds
        template = "counts" if "hx-request" in request.headers else "campaign"
        values: dict[str, Any] = {"name": name, "found": None}
        if counted is not None:
            found, age = counted
            states = [state for state in STATES if state in found["by_state"]]
            values |= {"found": found, "states": states, "age": age}
        description = document["query"].get("description", "")
        return site.page(request, template, description=description, **values)

    return pages


def _listed(site: Site) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """All campaigns with their members, and all simulations by state."""
    fields = dict.fromkeys(("key", "control", "created", "query.description"), True)
    found = [
        {**entry, **_ended(site, entry["key"])}
        for entry in site.stores.campaigns.find({}, {"_id": False, **fields}).sort("key", 1)
    ]
    everything: dict[str, int] = {}
    for entry in counts(site.stores):
        everything[entry["state"]] = everything.get(entry["state"], 0) + entry["count"]
    return found, everything


def _ended(site: Site, name: str) -> dict[str, int]:
    """Members of a campaign and how many of them have ended, counted over an index."""
    mine = {"campaign": name, "current": True}
    members = site.stores.members
    by_outcome = {
        outcome: members.count_documents({**mine, "outcome": outcome})
        for outcome in ("open", "ended", "unusable")
    }
    return {"members": sum(by_outcome.values()), **by_outcome}
