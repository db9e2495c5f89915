import numpy as np
import pytest
import torch

from ebsdsg_ml.imperfections import DetectorImperfections
from ebsdsg_ml.synthetic_target import SEVERITIES, SyntheticTargetError, best_of


def test_the_detector_is_off_by_what_the_severity_says():
    severity = SEVERITIES["middle"]
    from ebsdsg_sim.detector import Detector

    for size in (48, 229):
        paper, moved = Detector.paper(size), severity.detector(size)
        difference = np.subtract(moved.pc("bruker"), paper.pc("bruker"))
        assert difference == pytest.approx(severity.pattern_centre, abs=1e-9)
        assert moved.tilt - paper.tilt == pytest.approx(severity.tilt)


@pytest.mark.parametrize("name", SEVERITIES)
def test_a_severity_is_a_recipe_and_its_electrons_do_not_depend_on_the_size(name):
    severity = SEVERITIES[name]
    for size in (48, 96):
        recipe = severity.recipe(size, 3)
        assert recipe == severity.recipe(size, 3)
        counts = DetectorImperfections.from_dict(recipe.imperfections).counts
        low, high = (51.0 * 6.241509074e9 * 1e-6 * t / size**2 for t in counts.dwell_time)
        assert (low, high) == pytest.approx(severity.electrons)


def test_every_severity_is_worse_than_the_one_before():
    for a, b in zip(list(SEVERITIES.values()), list(SEVERITIES.values())[1:], strict=False):
        assert np.linalg.norm(b.pattern_centre) > np.linalg.norm(a.pattern_centre)
        assert abs(b.tilt) > abs(a.tilt)
        assert b.electrons < a.electrons and b.blur > a.blur
        for part in ("jitter", "vignetting", "dark", "stray", "energy_shift"):
            assert getattr(b, part) > getattr(a, part)
        assert abs(b.distortion) > abs(a.distortion)


def test_the_noise_of_a_flat_image_is_that_of_the_electrons():
    severity = SEVERITIES["severe"]
    size = 64
    parts = severity.imperfections(size)
    only = DetectorImperfections.from_dict({"counts": parts["counts"]})
    images = only(torch.ones(40, size, size), 1, range(40))
    relative = (images.std(dim=(1, 2)) / images.mean(dim=(1, 2))).numpy()
    few, many = severity.electrons
    assert relative.max() < 1.1 * few**-0.5 and relative.min() > 0.9 * many**-0.5


def test_the_best_are_kept_in_order_and_blank_patterns_are_the_worst():
    quality = np.array([0.3, np.nan, 0.9, 0.5, 0.9, 0.1])
    assert best_of(quality, 3).tolist() == [2, 3, 4]
    assert 1 not in best_of(quality, 5)
    with pytest.raises(SyntheticTargetError, match="7 best of 6"):
        best_of(quality, 7)
