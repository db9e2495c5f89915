"""An experimental pattern is found again: frames, pattern centre, Bunge angles, corrections."""

import h5py
import numpy as np
import pytest
import torch

from ebsdsg_ml.imperfections import DynamicCorrection
from ebsdsg_sim.comparison import normalised_cross_correlation
from ebsdsg_sim.detector import Detector
from ebsdsg_sim.hdf5 import read_master_pattern
from ebsdsg_sim.orientation import euler_to_quaternion, random_rotations
from ebsdsg_sim.projection import Projector


@pytest.mark.parametrize("number", [0, 4])
def test_published_orientation_is_ahead_of_a_thousand_random_ones(shared, number):
    nickel = read_master_pattern(shared / "reference/emsoft/Ni.h5")
    with h5py.File(shared / "data/patterns/kikuchipy_Ni/patterns.h5") as file:
        scan = file["Scan 1/EBSD"]
        pattern = scan["Data/patterns"][number].astype(np.float32)
        static = scan["Header/static_background"][()].astype(np.float32)
        centre = [float(scan[f"Header/{n}"][()].ravel()[number]) for n in ("pcx", "pcy", "pcz")]
        found = scan["CrystalMap/crystal_map/data"]
        euler = np.degrees([found[n][number] for n in ("phi1", "Phi", "phi2")])
        published = float(found["scores"][number])
    correction = DynamicCorrection()
    seen = correction(torch.from_numpy(pattern - static * pattern.mean() / static.mean())[None])[0]
    y, x = np.mgrid[:60, :60] - 29.5
    circle = np.hypot(x, y) <= 30
    detector = Detector.from_pattern_centre(centre, "bruker", (60, 60))
    projector = Projector(nickel, detector, background=False, solid_angle="physical")
    q = np.vstack((euler_to_quaternion(euler), random_rotations(1000, number)))
    own, *others = (
        normalised_cross_correlation(seen.numpy()[circle], s[circle])
        for s in correction(projector.patterns(q)).numpy()
    )
    assert own > 3 * max(others)
    assert own == pytest.approx(published, abs=0.03)
