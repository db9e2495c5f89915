"""Pictures of master patterns, drawn from the file that a document names."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Request
from fastapi import Path as PathParameter
from fastapi.responses import Response

from ebsdsg_flows.web.site import Site

SIZE = 401
"""Pixels per side of a picture; odd, so that the centre is a pixel."""

KEPT = 512
"""Pictures kept in memory; each takes about 150 kB."""

HashKey = Annotated[str, PathParameter(pattern="^[0-9a-f]{64}$")]


def router(site: Site) -> APIRouter:
    """Address of the pictures.

    Parameters
    ----------
    site : that they belong to.
    """
    pages = APIRouter()

    @pages.get("/master-patterns/{key}/{projection}/{hemisphere}/{energy}.png")
    def picture(
        request: Request,
        key: HashKey,
        projection: Literal["stereographic", "lambert"],
        hemisphere: Literal["north", "south"],
        energy: Annotated[int, PathParameter(ge=0, le=10_000)],
    ) -> Response:
        found = site.stores.master_patterns.find_one({"key": key}, {"file": 1, "energies": 1})
        if found is None:
            raise HTTPException(404, "there is no master pattern of that simulation")
        if energy >= len(found["energies"]):
            raise HTTPException(404, f"this master pattern has {len(found['energies'])} energies")
        sha256 = found["file"]["sha256"]
        headers = {"ETag": f'"{sha256[:32]}"', "Cache-Control": "private, max-age=3600"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        drawn = _drawn(site.file(found["file"]), sha256, projection, hemisphere, energy)
        return Response(drawn, media_type="image/png", headers=headers)

    return pages


@lru_cache(maxsize=KEPT)
def _drawn(
    path: Path,
    sha256: str,
    projection: Literal["stereographic", "lambert"],
    hemisphere: Literal["north", "south"],
    energy: int,
) -> bytes:
    """PNG of one energy; the hash in the key draws it anew when the file has changed."""
    from PIL import Image

    from ebsdsg_sim.energy_map import map_picture, read_energy
    from ebsdsg_sim.hdf5_file import MasterPatternFileError

    try:
        values = read_energy(path, energy, hemisphere)
    except MasterPatternFileError as error:
        # the message names the path of the file, which is nobody's business here
        raise HTTPException(404, "the file of this master pattern cannot be read") from error
    buffer = io.BytesIO()
    Image.fromarray(map_picture(values, projection, SIZE)).save(buffer, format="PNG")
    return buffer.getvalue()
