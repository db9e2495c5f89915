"""Crystals of the benchmarks, with EMsoft's measured times for them."""

from __future__ import annotations

from ebsdsg_sim.crystal import Crystal, Site
from ebsdsg_sim.symmetry import hall_number_for


def _cubic(name: str, a: float, group: int, *sites: tuple) -> Crystal:
    cell = (a, a, a, 90.0, 90.0, 90.0)
    return Crystal(name, cell, group, hall_number_for(group), tuple(Site(*s) for s in sites))


#: Lengths in nm, Debye-Waller factors in nm^2; the first five are the reference material's.
CRYSTALS = {
    crystal.name: crystal
    for crystal in (
        _cubic("Ni", 0.35236, 225, ("Ni", (0, 0, 0), 1.0, 0.0035)),
        _cubic("Ni_B080", 0.35236, 225, ("Ni", (0, 0, 0), 1.0, 0.008)),
        _cubic(
            "NiAl",
            0.2887,
            221,
            ("Ni", (0, 0, 0), 1.0, 0.005),
            ("Al", (0.5, 0.5, 0.5), 1.0, 0.006),
        ),
        _cubic("Si", 0.5431, 227, ("Si", (0.125, 0.125, 0.125), 1.0, 0.0046)),
        _cubic(
            "TiC", 0.4328, 225, ("Ti", (0, 0, 0), 1.0, 0.003), ("C", (0.5, 0.5, 0.5), 1.0, 0.0035)
        ),
        _cubic("W", 0.31652, 229, ("W", (0, 0, 0), 1.0, 0.0016)),
        _cubic("Ta", 0.33013, 229, ("Ta", (0, 0, 0), 1.0, 0.003)),
        _cubic(
            "Cr3Si",
            0.4556,
            223,
            ("Cr", (0.25, 0, 0.5), 1.0, 0.004),
            ("Si", (0, 0, 0), 1.0, 0.004),
        ),
        _cubic(
            "garnet",  # Y3Al5O12
            1.2,
            230,
            ("Y", (0.125, 0, 0.25), 1.0, 0.004),
            ("Al", (0, 0, 0), 1.0, 0.004),
            ("Al", (0.375, 0, 0.25), 1.0, 0.004),
            ("O", (0.97, 0.05, 0.149), 1.0, 0.005),
        ),
    )
}

#: EMsoft 5.0.4 EMEBSDmaster, ms of CPU per direction and energy: mean of 11 energies from 10 to
#: 20 keV, dmin 0.05 nm, Bethe 8/50/100, one core of a 2.8 GHz Skylake-X.
EMSOFT_MS = {
    "Ni": 7.2,
    "Ni_B080": 5.7,
    "NiAl": 18.8,
    "Si": 10.0,
    "TiC": 15.7,
    "W": 27.4,
    "Ta": 31.2,
    "Cr3Si": 87.3,
}
