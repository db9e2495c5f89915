"""Pattern-centre conventions: round trips, kikuchipy's conversions, and where things appear."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from ebsdsg_sim.detector import Detector, DetectorError
from ebsdsg_sim.pattern_centre import (
    ALIASES,
    CONVENTIONS,
    PatternCentreError,
    convert_pattern_centre,
)

SHAPES = ((60, 60), (480, 640), (1024, 1244), (90, 40))


@pytest.mark.parametrize(("source", "target"), product(CONVENTIONS, CONVENTIONS))
def test_round_trips_of_all_pairs(source, target):
    rng = np.random.default_rng(0)
    centres = rng.uniform([0.3, 0.2, 0.4], [0.7, 0.9, 1.2], (5, 7, 3))
    for shape, binning in product(SHAPES, (1, 4)):
        options = {"pixel_size": 23.7, "binning": binning}
        here = convert_pattern_centre(centres, "bruker", source, shape, **options)
        there = convert_pattern_centre(here, source, target, shape, **options)
        back = convert_pattern_centre(there, target, source, shape, **options)
        assert np.abs(back / here - 1).max() < 1e-12


@pytest.mark.parametrize("convention", [*CONVENTIONS, *ALIASES])
@pytest.mark.parametrize("shape", SHAPES)
def test_conversions_are_kikuchipys(convention, shape):
    from kikuchipy.detectors import EBSDDetector

    bruker = np.array([0.42, 0.27, 0.63])
    name = {"edax": "tsl", "kikuchipy": "bruker"}.get(convention, convention)
    # kikuchipy's pixels are the camera's, and so is its shape times the binning.
    options = {"pixel_size": 70.0 * 2, "binning": 2}
    ours = convert_pattern_centre(bruker, "bruker", convention, shape, **options)
    camera = {"shape": shape, "px_size": 70.0, "binning": 2}
    theirs = EBSDDetector(pc=ours, convention=name, **camera)
    assert np.allclose(theirs.pc_flattened[0], bruker, atol=1e-12)
    detector = Detector.from_pattern_centre(ours, convention, shape, **options)
    assert np.allclose(detector.pc(), bruker, atol=1e-12)
    assert np.allclose(detector.pc(convention, binning=2), ours, rtol=1e-12)


def test_each_convention_says_what_its_maker_means():
    """A screen of 100 x 200 pixels of 50 um, centre 30 right of the left and 20 below the top."""
    shape, expected = (
        (100, 200),
        {
            "bruker": (30 / 200, 20 / 100, 1.5),
            "edax": (30 / 200, 80 / 100, 1.5),
            "oxford": (30 / 200, 80 / 200, 0.75),
            "emsoft5": (70, 30, 7500),
            "emsoft4": (-70, 30, 7500),
        },
    )
    detector = Detector(shape, 50.0, 7500.0, xpc=70.0, ypc=30.0)
    for convention, values in expected.items():
        assert detector.pc(convention) == pytest.approx(values)
    upright = Detector((200, 100), 50.0, 7500.0)
    assert upright.pc("edax")[2] == pytest.approx(1.5)
    assert upright.pc("bruker")[2] == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("azimuth", "twist", "tilt"), [(0, 0, 0), (0, 0, 12), (8, 0, 5), (0, -6, 5), (8, -6, 12)]
)
def test_screens_are_turned_as_kikuchipys(azimuth, twist, tilt):
    from kikuchipy.detectors import EBSDDetector

    detector = Detector((48, 64), 100.0, 6000.0, tilt, 5.0, 9.0, 68.0, azimuth, twist)
    theirs = EBSDDetector(
        shape=(48, 64),
        pc=detector.pc(),
        tilt=tilt,
        sample_tilt=68.0,
        azimuthal=-azimuth,
        twist=twist,
    )
    right, down, normal = detector.axes().T
    assert np.allclose(theirs.sample_to_detector.to_matrix()[0], [right, -down, normal])


def test_an_asymmetric_scene_appears_where_an_observer_at_the_detector_sees_it():
    """The surface normal is up; +TD is on the right; turning and twisting move features."""
    straight = Detector((101, 151), 100.0, 9000.0, xpc=20.0, ypc=10.0)

    def pixel(detector, direction):
        cosine = detector.directions() @ (direction / np.linalg.norm(direction))
        return np.unravel_index(cosine.argmax(), cosine.shape)

    right, down, normal = straight.axes().T
    assert pixel(straight, normal) == (50 - 10, 75 - 20)
    assert pixel(straight, 9000 * normal + 1000 * right) == (40, 55 + 10)
    assert pixel(straight, 9000 * normal + 2000 * down) == (40 + 20, 55)
    assert right @ [0, 1, 0] == pytest.approx(1)
    assert down @ [0, 0, 1] < 0
    # One feature up and to the right of the centre: an L, so that no mirror goes unnoticed.
    feature = 9000 * normal + 1500 * right - 3000 * down
    assert pixel(straight, feature) == (40 - 30, 55 + 15)
    row, column = pixel(replace(straight, twist=10.0), feature)
    assert row > 10 - 3 and column < 70 - 3  # counter-clockwise about (40, 55)
    assert pixel(replace(straight, tilt=5.0), feature)[0] < 10 - 3  # it looks down: features rise
    assert pixel(replace(straight, azimuth=5.0), feature)[1] < 70 - 3


def test_binning_looks_the_same_way():
    fine = Detector((60, 90), 50.0, 5000.0, 5.0, 3.0, -6.0)
    coarse = fine.binned(3)
    assert coarse.shape == (20, 30)
    assert np.allclose(coarse.pc(), fine.pc())
    assert np.allclose(coarse.directions(), fine.directions()[1::3, 1::3], atol=1e-12)
    assert coarse.pc("emsoft5", binning=3) == pytest.approx((3.0, -6.0, 5000.0))
    with pytest.raises(DetectorError, match="binning = 4"):
        fine.binned(4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((0.5, 0.5, 0.5), "bruker", "siemens", (5, 5)), "siemens"),
        (((0.5, 0.5), "bruker", "edax", (5, 5)), "three finite"),
        (((0.5, 0.5, np.nan), "bruker", "edax", (5, 5)), "three finite"),
        (((0.5, 0.5, 0.0), "bruker", "edax", (5, 5)), "distance"),
        (((0.5, 0.5, 0.5), "bruker", "emsoft", (5, 5)), "pixel_size"),
        (((0.5, 0.5, 0.5), "bruker", "edax", (0, 5)), "shape"),
    ],
)
def test_unusable_centres_are_refused(arguments, message):
    with pytest.raises(PatternCentreError, match=message):
        convert_pattern_centre(*arguments)


@pytest.mark.parametrize("weights", ["exact", "fast", "none"])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_an_asymmetric_pattern_is_the_same_from_every_convention(shared, convention, weights):
    """Three spots of different brightness, an L on the screen, put into the master pattern."""
    from ebsdsg_sim.hdf5 import read_master_pattern
    from ebsdsg_sim.lambert import grid_directions
    from ebsdsg_sim.projection import Projector

    nickel = read_master_pattern(shared / "reference/emsoft/Ni.h5")
    # The corner of the L is (row 12, column 20), its long arm goes down, its short one right.
    spots = {(12, 20): 3.0, (40, 20): 2.0, (12, 35): 1.0}
    screen = Detector((60, 80), 100.0, 5000.0, 8.0, 7.0, 11.0)
    directions = screen.directions()
    half = grid_directions(nickel.npx).numpy()
    hemispheres = []
    for side in (1, -1):
        sphere = half * [1, 1, side]
        hemispheres.append(
            0.01
            + sum(
                brightness * np.exp((sphere @ directions[pixel] - 1) / 5e-4)
                for pixel, brightness in spots.items()
            )
        )
    shape = nickel.north.shape
    north, south = (
        np.ascontiguousarray(np.broadcast_to(h, shape), dtype=np.float32) for h in hemispheres
    )
    master = replace(nickel, north=north, south=south)
    centre = screen.pc(convention)
    detector = Detector.from_pattern_centre(
        centre, convention, (60, 80), pixel_size=100.0, tilt=8.0
    )
    projector = Projector(master, detector, energy_weights=weights, background=False)
    image = projector.patterns([1.0, 0, 0, 0])[0].numpy()
    for brightness in sorted(spots.values(), reverse=True):
        peak = np.unravel_index(image.argmax(), image.shape)
        expected = next(pixel for pixel, value in spots.items() if value == brightness)
        assert np.abs(np.subtract(peak, expected)).max() <= 1
        image[peak[0] - 5 : peak[0] + 6, peak[1] - 5 : peak[1] + 6] = 0
