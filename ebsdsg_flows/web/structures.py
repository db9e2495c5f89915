"""The structures, and one structure with its labels, master patterns and runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response

from ebsdsg_flows.story import label_reason, unusable_reason
from ebsdsg_flows.web.pictures import HashKey
from ebsdsg_flows.web.site import PAGE, Site
from stores.queries import everything_about, find
from stores.refusals import hidden_structures

RUNS_SHOWN = 100
SIMULATIONS_SHOWN = 20

GroupText = Annotated[str, Query(pattern="^[0-9]{0,3}$")]
"""A form sends an empty field where no group is chosen."""

Text = Annotated[str, Query(max_length=200)]
PageNumber = Annotated[int, Query(ge=1, le=100_000)]


def router(site: Site) -> APIRouter:
    """Pages of the structures.

    Parameters
    ----------
    site : that they belong to.
    """
    pages = APIRouter()

    @pages.get("/structures")
    def structures(
        request: Request,
        group: GroupText = "",
        relabelled: GroupText = "",
        text: Text = "",
        campaign: Text = "",
        page: PageNumber = 1,
    ) -> Response:
        criteria: dict[str, Any] = {}
        if group:
            criteria["space_group.number"] = int(group)
        if relabelled:
            criteria["relabel.number"] = int(relabelled)
        if campaign:
            mine = {"campaign": campaign, "current": True}
            criteria["key"] = {"$in": site.stores.members.distinct("material_id", mine)}
        if wanted := text.strip():
            known = site.stores.structures, site.stores.unusable_structures
            if any(store.find_one({"key": wanted}, {"key": 1}) for store in known):
                base = request.scope.get("root_path", "")
                return RedirectResponse(f"{base}/structures/{quote(wanted, safe='')}", 303)
            criteria["formula"] = wanted
        rows = _rows(site, criteria, page)
        asked = {"group": group, "relabelled": relabelled, "text": text, "campaign": campaign}
        return site.page(
            request,
            "structures",
            rows=rows[:PAGE],
            more=len(rows) > PAGE,
            asked=asked,
            number=page,
        )

    @pages.get("/structures/{material_id:path}")
    def structure(request: Request, material_id: str) -> Response:
        found = everything_about(site.stores, material_id)
        if not any(found.values()):
            raise HTTPException(404, f"nothing is known of {material_id!r}")
        patterns = {pattern["key"]: pattern for pattern in found["master_patterns"]}
        document = found["structure"]
        return site.page(
            request,
            "structure",
            material_id=material_id,
            found=found,
            structure=document,
            why=None if document is None else label_reason(document),
            unusable=None if found["unusable"] is None else unusable_reason(found["unusable"]),
            hidden=found["hidden"],
            simulations=found["simulations"][:SIMULATIONS_SHOWN],
            patterns=patterns,
            views={
                key: _view(site, pattern, len(pattern["energies"]) - 1, "north")
                for key, pattern in patterns.items()
            },
            namelists={key: _namelists(site, pattern) for key, pattern in patterns.items()},
            runs=found["runs"][-RUNS_SHOWN:],
        )

    @pages.get("/master-patterns/{key}/view")
    def view(
        request: Request,
        key: HashKey,
        energy: Annotated[int, Query(ge=0, le=10_000)],
        hemisphere: Literal["north", "south"] = "north",
    ) -> Response:
        pattern = site.stores.master_patterns.find_one({"key": key}, {"_id": False})
        if pattern is None or energy >= len(pattern["energies"]):
            raise HTTPException(404, "there is no such master pattern, or not that energy of it")
        shown = _view(site, pattern, energy, hemisphere)
        # htmx swaps the pictures alone; a browser without scripts gets a page around them
        template = "view" if "hx-request" in request.headers else "structure_view"
        return site.page(request, template, view=shown, pattern=pattern)

    return pages


def _rows(site: Site, criteria: dict[str, Any], page: int) -> list[dict[str, Any]]:
    """One more structure than a page shows, with the states of its simulations and whether its
    entry has become unusable since.

    They come in the order of the index that the criteria use: sorting half a hundred thousand
    structures for every page would take seconds.
    """
    fields = dict.fromkeys(
        ("key", "formula", "space_group.number", "space_group.symbol", "relabel.number",
         "relabel.symbol", "relabel.sensitive", "prototype"), True,
    )  # fmt: skip
    found = site.stores.structures.find(criteria, {"_id": False, **fields})
    rows = list(found.skip((page - 1) * PAGE).limit(PAGE + 1))
    keys = {"$in": [row["key"] for row in rows]}
    states: dict[str, list[str]] = {}
    for entry in site.stores.simulations.find(
        {"material_id": keys}, {"material_id": 1, "state": 1}
    ):
        states.setdefault(entry["material_id"], []).append(entry["state"])
    hidden = hidden_structures(site.stores, keys["$in"])
    return [
        {
            **row,
            "states": sorted(set(states.get(row["key"], []))),
            "unusable": row["key"] in hidden,
        }
        for row in rows
    ]


def _view(site: Site, pattern: dict[str, Any], energy: int, hemisphere: str) -> dict[str, Any]:
    """What the fragment with the two pictures of a master pattern shows."""
    from ebsdsg_sim.crystal import Crystal
    from ebsdsg_sim.zone_axes import zone_axes

    simulation = find(
        site.stores, "simulations", {"key": pattern["key"]}, fields=("crystal",), limit=1
    )
    axes = []
    if simulation:
        crystal = Crystal.from_dict(simulation[0]["crystal"])
        axes = zone_axes(crystal, south=hemisphere == "south")
    return {
        "key": pattern["key"],
        "energy": energy,
        "kev": pattern["energies"][energy],
        "hemisphere": hemisphere,
        "axes": axes,
    }


def _namelists(site: Site, pattern: dict[str, Any]) -> dict[str, str]:
    from ebsdsg_sim.energy_map import read_namelists
    from ebsdsg_sim.hdf5_file import MasterPatternFileError

    try:
        return read_namelists(site.file(pattern["file"]))
    except (MasterPatternFileError, HTTPException):
        return {"not readable": "the file of this master pattern is missing or broken"}
