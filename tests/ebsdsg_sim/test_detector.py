"""Detector geometry: EMEBSD's formulas, the paper's camera, refusals."""

import math

import numpy as np
import pytest

from ebsdsg_sim.detector import Detector, DetectorError


def emebsd(numsx, numsy, delta, length, thetac, xpc, ypc, sig=70.0, omega=0.0):
    """Directions as EMsoft's source has them, pixel by pixel, 1-based and upside down."""
    d = np.empty((numsy, numsx, 3))
    alpha = math.pi / 2 - math.radians(sig - thetac)
    w = math.radians(omega)
    for i in range(1, numsx + 1):
        for j in range(1, numsy + 1):
            x = (xpc + (1 - numsx) / 2 + (i - 1)) * delta
            y = (ypc - (1 - numsy) / 2 - (j - 1)) * delta
            ls = -math.sin(w) * x + length * math.cos(w)
            lc = math.cos(w) * x + length * math.sin(w)
            v = (
                y * math.cos(alpha) + math.sin(alpha) * ls,
                lc,
                -math.sin(alpha) * y + math.cos(alpha) * ls,
            )
            d[numsy - j, i - 1] = np.array(v) / np.linalg.norm(v)
    return d


@pytest.mark.parametrize(("xpc", "ypc", "omega"), [(0, 0, 0), (3.2, -7.5, 0), (-1.5, 4.25, 12)])
def test_directions_are_emebsds(xpc, ypc, omega):
    detector = Detector((7, 12), 50.0, 15_000.0, 10.0, xpc, ypc, azimuth=omega)
    expected = emebsd(12, 7, 50.0, 15_000.0, 10.0, xpc, ypc, omega=omega)
    assert np.allclose(detector.directions(), expected, atol=1e-12)


def test_pattern_centre_is_where_the_normal_from_the_sample_meets_the_screen():
    detector = Detector((61, 41), 70.0, 16_000.0, 8.0, xpc=4.0, ypc=9.0)
    row, column = 30 - 9, 20 - 4
    assert np.allclose(detector.directions()[row, column], detector.pattern_centre(), atol=1e-12)
    pcx, pcy, pcz = detector.pc()
    assert (column + 0.5) / 41 == pytest.approx(pcx)
    assert (row + 0.5) / 61 == pytest.approx(pcy)
    assert pcz == pytest.approx(16_000 / (61 * 70))


def test_the_top_of_the_screen_looks_along_the_surface_normal():
    d = Detector.paper(51).directions()
    assert d[0, 25, 2] > d[-1, 25, 2]
    assert d[25, 50, 1] > 0 > d[25, 0, 1]
    assert np.allclose(np.linalg.norm(d, axis=-1), 1)


def test_the_papers_detector_covers_the_same_screen_at_every_size():
    large, small = Detector.paper(229), Detector.paper(64)
    for detector in (large, small):
        assert detector.pixel_size * detector.shape[0] == pytest.approx(23 * 1024)
        assert detector.ypc * detector.pixel_size == pytest.approx(171)
        assert (detector.distance, detector.tilt) == (19_100, 13.7)
    assert np.allclose(large.pattern_centre(), small.pattern_centre())


def test_solid_angles_fall_off_as_the_third_power_of_the_cosine():
    detector = Detector((9, 9), 500.0, 10_000.0)
    factor = detector.solid_angles()
    cosine = detector.directions() @ detector.pattern_centre()
    assert np.allclose(factor, cosine**3, rtol=2e-3)
    assert factor[4, 4] == pytest.approx(1)


@pytest.mark.parametrize(
    "arguments",
    [
        ((0, 5), 50.0, 1e4),
        ((5, 5), 0.0, 1e4),
        ((5, 5), 50.0, -1.0),
        ((5, 5), 50.0, 1e4, math.nan),
    ],
)
def test_impossible_detectors_are_refused(arguments):
    with pytest.raises(DetectorError):
        Detector(*arguments)
    with pytest.raises(DetectorError):
        Detector.paper(0)
