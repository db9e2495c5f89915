"""Pictures of a master pattern: stereographic disc and Lambert square, and cards for notebooks."""

from __future__ import annotations

import os

import numpy as np

from ebsdsg_sim.atomic_file import new_file
from ebsdsg_sim.card import PIXELS, card, picture
from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.masterpattern import MasterPattern
from ebsdsg_sim.symmetry import setting

#: Fraction of the pixels that may be clipped at either end of the grey scale.
CLIP = 0.002


def grey(image: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
    """Grey levels of an image, stretched between its darkest and brightest pixels.

    Parameters
    ----------
    image : (rows, columns) intensities.
    inside : (rows, columns) pixels to stretch by; the others become white.

    Returns
    -------
    (rows, columns) uint8.
    """
    values = image if inside is None else image[inside]
    low, high = np.quantile(values, [CLIP, 1 - CLIP])
    scaled = np.clip((image - low) / (high - low if high > low else 1), 0, 1)
    levels = np.round(255 * scaled).astype(np.uint8)
    if inside is not None:
        levels[~inside] = 255
    return levels


def master_pattern_png(
    master_pattern: MasterPattern,
    path: str | os.PathLike[str],
    *,
    energy_index: int = -1,
    size: int = 501,
) -> None:
    """Write a picture of one energy, summed over the sites.

    Parameters
    ----------
    master_pattern : what to draw.
    path : PNG file to write; replaced if it exists.
    energy_index : bin; -1 is the beam energy.
    size : pixels per side of each projection, odd.

    Raises
    ------
    MasterPatternError
        If the size is not odd and at least 3.

    Notes
    -----
    y points up.  One row of pictures per hemisphere, and one row only where both are equal.
    """
    from PIL import Image

    mp = master_pattern
    axis = np.linspace(-1, 1, size)
    disc = axis[:, None] ** 2 + axis[None, :] ** 2 <= 1
    hemispheres = ["north"] if np.array_equal(mp.north, mp.south) else ["north", "south"]
    rows = []
    for hemisphere in hemispheres:
        ball = mp.stereographic(energy_index, size, hemisphere)  # type: ignore[arg-type]
        square = mp.total(hemisphere)[energy_index]  # type: ignore[arg-type]
        map_ = Image.fromarray(grey(square)[::-1]).resize((size, size), Image.Resampling.BILINEAR)
        gap = np.full((size, 8), 255, dtype=np.uint8)
        rows.append(np.hstack((grey(ball, disc)[::-1], gap, np.asarray(map_))))
    with new_file(path) as temporary:
        Image.fromarray(np.vstack(rows)).save(temporary, format="PNG")


def crystal_facts(crystal: Crystal) -> dict[str, str]:
    """Cell, group, sites and density of a crystal, with their units.

    Parameters
    ----------
    crystal : what is described.
    """
    group = setting(crystal.hall_number)
    sites = [
        f"{site.element} at {', '.join(f'{x:.4g}' for x in site.position)}"
        + ("" if site.occupancy == 1 else f", {site.occupancy:.3g} occupied")
        + f", B = {site.debye_waller:g} nm²"
        for site in crystal.sites
    ]
    if len(sites) > 6:
        sites = [*sites[:5], f"and {len(sites) - 5} more"]
    lengths, angles = crystal.cell[:3], crystal.cell[3:]
    return {
        "space group": f"{group.international} ({group.space_group}), Hall number "
        f"{group.hall_number}",
        "cell": f"{', '.join(f'{x:.5g}' for x in lengths)} nm; "
        f"{', '.join(f'{x:g}' for x in angles)}°",
        "sites": "; ".join(sites),
        "atoms": f"{crystal.n_atoms} in the cell, {crystal.density:.2f} g/cm³",
    }


def crystal_card(crystal: Crystal) -> str:
    """HTML of a crystal for a notebook."""
    return card(crystal.name, crystal_facts(crystal))


def master_pattern_card(mp: MasterPattern) -> str:
    """HTML of a master pattern for a notebook: the northern hemisphere at the beam energy."""
    side = 2 * mp.npx + 1
    ball = mp.stereographic(-1, 2 * (PIXELS // 2) + 1)
    axis = np.linspace(-1, 1, len(ball))
    disc = axis[:, None] ** 2 + axis[None, :] ** 2 <= 1
    levels = grey(ball, disc)[::-1]
    facts = {
        **crystal_facts(mp.crystal),
        "energies": f"{mp.energies[0]:g} to {mp.energies[-1]:g} keV, {len(mp.energies)} bins",
        "map": f"{side} × {side} pixels, "
        + (
            "all sites together" if len(mp.north) == 1 else f"one for each of {len(mp.north)} sites"
        ),
        "planes": f"d ≥ {mp.parameters.dmin:g} nm, {mp.parameters.voltage:g} kV, sample tilted "
        f"{mp.parameters.sample_tilt:g}°",
        "made by": " ".join(
            str(mp.provenance[key]) for key in ("engine", "version") if mp.provenance.get(key)
        )
        or "not said",
    }
    name = f"{mp.crystal.name} at {mp.energies[-1]:g} keV, stereographic"
    return card(f"Master pattern of {mp.crystal.name}", facts, [picture(levels, name, inside=disc)])
