"""One map out of a master-pattern file, without reading the others, and the file's name lists.

A file of the paper's size holds gigabytes; a picture of one energy needs a few megabytes of it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import torch

from ebsdsg_sim.hdf5_file import MasterPatternFileError, open_hdf5
from ebsdsg_sim.lambert import to_stereographic
from ebsdsg_sim.preview import grey

Projection = Literal["stereographic", "lambert"]
Hemisphere = Literal["north", "south"]


def read_energy(
    path: str | os.PathLike[str], energy_index: int, hemisphere: Hemisphere = "north"
) -> np.ndarray:
    """Map of one energy and hemisphere, summed over the sites.

    Parameters
    ----------
    path : file, ours or EMsoft's.
    energy_index : bin, from 0.
    hemisphere : ``north`` or ``south``.

    Returns
    -------
    (2 npx + 1, 2 npx + 1) float32; rows and columns as in
    :class:`ebsdsg_sim.masterpattern.MasterPattern`.

    Raises
    ------
    MasterPatternFileError
        If the file is missing or broken, or has no such energy.
    """
    with open_hdf5(Path(path)) as file:
        group = file["EMData/EBSDmaster"]
        maps = group["mLPNH" if hemisphere == "north" else "mLPSH"]
        first = int(group["lastEnergy"][0]) - 1
        if maps.ndim != 4 or not first <= energy_index < maps.shape[1]:
            raise MasterPatternFileError(f"{path}: holds no energy number {energy_index}")
        return np.asarray(maps[:, energy_index], dtype=np.float32).sum(axis=0)


def map_picture(values: np.ndarray, projection: Projection, size: int) -> np.ndarray:
    """Grey picture of a map.

    Parameters
    ----------
    values : (side, side) map of :func:`read_energy`.
    projection : ``stereographic``, white outside the disc, or ``lambert``, the map as it is.
    size : pixels per side, odd.

    Returns
    -------
    (size, size) uint8; y points up, that is, the first row is the largest y.
    """
    scaled = torch.nn.functional.interpolate(
        torch.from_numpy(values)[None, None], (size, size), mode="bilinear", align_corners=True
    )[0]
    if projection == "lambert":
        return grey(scaled[0].numpy())[::-1]
    axis = np.linspace(-1, 1, size)
    disc = axis[:, None] ** 2 + axis[None, :] ** 2 <= 1
    return grey(to_stereographic(scaled)[0].numpy(), disc)[::-1]


def read_namelists(path: str | os.PathLike[str]) -> dict[str, str]:
    """Text of EMsoft's name lists in a file, by name.

    Parameters
    ----------
    path : file, ours or EMsoft's.

    Raises
    ------
    MasterPatternFileError
        If the file is missing or broken.
    """
    with open_hdf5(Path(path)) as file:
        group = file.get("NMLfiles", {})
        return {name: _lines(data) for name, data in sorted(group.items())}


def _lines(data: h5py.Dataset) -> str:
    values = np.asarray(data[()]).ravel()
    return "\n".join(
        v.decode("utf-8", "replace").rstrip() if isinstance(v, bytes) else str(v) for v in values
    )
