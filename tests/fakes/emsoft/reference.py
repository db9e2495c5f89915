"""Real EMsoft output from the reference data, cropped to what a namelist asks for."""

from __future__ import annotations

import os

import h5py
import numpy as np

TEXT = h5py.string_dtype("ascii")


def put(group: h5py.Group, name: str, value: object) -> None:
    if isinstance(value, str | bytes):
        data = value if isinstance(value, bytes) else value.encode()
        group.create_dataset(name, data=[data], dtype=TEXT)
    elif isinstance(value, bool | int):
        group[name] = np.array([value], dtype=np.int32)
    else:
        group[name] = np.array([value], dtype=np.float64)


def reference(crystal: h5py.Group) -> str:
    """The reference file that is nearest to a crystal."""
    folder = os.environ["EMSOFT_STAND_IN_DATA"]
    atoms = crystal["Atomtypes"][()].tolist()
    name = {(28,): "Ni_B080", (22, 6): "TiC"}.get(tuple(atoms), "TiC")
    return os.path.join(folder, f"{name}.h5")


def read_crystal(path: str) -> dict[str, np.ndarray]:
    with h5py.File(path, "r") as file:
        return {name: value[()] for name, value in file["CrystalData"].items()}


def histograms(
    path: str, n_energies: int, n_depths: int, side: int, electrons: int
) -> dict[str, np.ndarray]:
    """``accum_e`` and ``accum_z`` with other numbers of energies, depths, pixels and electrons."""
    with h5py.File(path, "r") as file:
        group = file["EMData/MCOpenCL"]
        factor = electrons / (int(group["totnum_el"][0]) * int(group["multiplier"][0]))
        accum_e, accum_z = (
            np.floor(group[name][()] * factor + 0.5).astype(np.int32)
            if factor < 1
            else group[name][()]
            for name in ("accum_e", "accum_z")
        )
    half = side // 2
    coarse = 2 * (half // 10) + 1
    return {
        "accum_e": _shrink(accum_e, side)[:, :, :n_energies],
        "accum_z": _shrink(accum_z, coarse)[:, :, :n_depths, :n_energies],
        "accumSP": _shrink(accum_e, side)[:, :, :n_energies].astype(np.float32),
    }


def _shrink(counts: np.ndarray, side: int) -> np.ndarray:
    """Sum pixels into fewer pixels; no electron is lost."""
    place = np.rint(np.linspace(-(side // 2), side // 2, counts.shape[0])).astype(int) + side // 2
    rows = np.zeros((side, *counts.shape[1:]), dtype=counts.dtype)
    np.add.at(rows, place, counts)
    both = np.zeros((side, side, *counts.shape[2:]), dtype=counts.dtype)
    np.add.at(both, (slice(None), place), rows)
    return both


def maps(path: str, npx: int, crystal: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Northern and southern maps (n_sites, n_energies, side, side) on another grid."""
    with h5py.File(path, "r") as file:
        group = file["EMData/EBSDmaster"]
        halves = [group[name][()] for name in ("mLPNH", "mLPSH")]
    old = halves[0].shape[-1] // 2
    nodes = np.rint(np.arange(-npx, npx + 1) * (old / npx)).astype(int) + old
    weights = crystal["Atomtypes"].astype(float) ** 2 * crystal["AtomData"][3]
    weights = weights / weights.sum()
    north, south = (
        np.einsum(
            "s,eij->seij", weights, half.sum(axis=0)[:, nodes][:, :, nodes].astype(float)
        ).astype(np.float32)
        for half in halves
    )
    return north, south
