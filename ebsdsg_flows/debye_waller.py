"""Debye-Waller factors drawn for every site, as for the paper's second set of simulations."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def drawn(limits: Mapping[str, float], material_id: str, n_sites: int) -> list[float]:
    """One factor for each site, uniform between two limits.

    Parameters
    ----------
    limits : ``low`` and ``high`` [nm^2] and ``seed``.
    material_id : of the structure; every structure has its own numbers.
    n_sites : sites of the asymmetric unit.

    Returns
    -------
    Factors [nm^2], rounded to 1e-6; the same on every machine for the same arguments.
    """
    factors = []
    for site in range(n_sites):
        text = f"{int(limits['seed'])}/{material_id}/{site}"
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
        factors.append(round(limits["low"] + number * (limits["high"] - limits["low"]), 6))
    return factors
