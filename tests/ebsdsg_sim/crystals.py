"""Crystals the physics tests share."""

import json

import numpy as np

from ebsdsg_sim.crystal import Crystal, Site
from ebsdsg_sim.symmetry import hall_number_for


def reference_crystal(shared, name):
    """A crystal of the reference material."""
    inputs = json.loads((shared / "reference/physics/inputs.json").read_text())[name]
    group = inputs["space_group"]
    return Crystal(
        name=name,
        cell=(*inputs["a_b_c_nm"], *inputs["alpha_beta_gamma_deg"]),
        space_group=group,
        hall_number=hall_number_for(group),
        sites=tuple(
            Site(atom["element"], tuple(atom["xyz"]), atom["occupancy"], atom["B_nm2"])
            for atom in inputs["asymmetric_unit"]
        ),
    )


def crystal(name, cell, group, *sites):
    return Crystal(name, cell, group, hall_number_for(group), tuple(Site(*s) for s in sites))


GAAS = crystal(
    "GaAs",
    (0.5653, 0.5653, 0.5653, 90, 90, 90),
    216,
    ("Ga", (0, 0, 0), 1.0, 0.006),
    ("As", (0.25, 0.25, 0.25), 1.0, 0.005),
)
ZNO = crystal(
    "ZnO",
    (0.325, 0.325, 0.5207, 90, 90, 120),
    186,
    ("Zn", (1 / 3, 2 / 3, 0), 1.0, 0.005),
    ("O", (1 / 3, 2 / 3, 0.382), 1.0, 0.006),
)
MONOCLINIC = crystal(
    "P21",
    (0.41, 0.35, 0.47, 90, 104, 90),
    4,
    ("Ti", (0.11, 0.0, 0.23), 1.0, 0.004),
    ("O", (0.4, 0.37, 0.61), 0.8, 0.006),
)
P1 = crystal(
    "P1",
    (0.31, 0.36, 0.42, 82, 97, 104),
    1,
    ("Fe", (0.02, 0.0, 0.07), 1.0, 0.004),
    ("S", (0.46, 0.53, 0.41), 0.7, 0.006),
)


def as_p1(original, repeat=(1, 1, 1)):
    """The same crystal as a list of atoms without symmetry, in a cell repeated along its axes."""
    cell = tuple(np.array(original.cell[:3]) * repeat) + original.cell[3:]
    sites = [
        Site(
            site.element,
            tuple(np.add(atom, (i, j, k)) / repeat),
            site.occupancy,
            site.debye_waller,
        )
        for site, atoms in zip(original.sites, original.positions, strict=True)
        for atom in atoms
        for i in range(repeat[0])
        for j in range(repeat[1])
        for k in range(repeat[2])
    ]
    return Crystal(f"{original.name} in P1", cell, 1, 1, tuple(sites))


def random_directions(n, seed):
    v = np.random.default_rng(seed).normal(size=(n, 3))
    return v / np.linalg.norm(v, axis=1, keepdims=True)
