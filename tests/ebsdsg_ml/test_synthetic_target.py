import numpy as np
import pytest
import torch

from ebsdsg_ml.imperfections import DetectorImperfections
from ebsdsg_ml.pattern_source import PatternSource
from ebsdsg_ml.synthetic_target import SEVERITIES, SyntheticTargetError, target_pool


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


def test_more_than_were_recorded_cannot_be_kept():
    with pytest.raises(SyntheticTargetError, match="7 best of 6"):
        target_pool(SEVERITIES["mild"], [], size=48, recorded=6, kept=7)


def test_a_pool_is_fixed_by_its_seed_and_keeps_the_best_of_every_phase(shared):
    names = ("Ni", "Si")
    sources = [PatternSource(n, n, {}, shared / f"reference/emsoft/{n}.h5", "") for n in names]
    pools = [
        target_pool(SEVERITIES["severe"], sources, size=32, recorded=n, kept=4, seed=5)
        for n in (8, 8, 4)
    ]
    first, again, all_kept = pools
    assert np.array_equal(first.patterns, again.patterns)
    assert first.patterns.shape == (8, 32, 32) and first.phases.tolist() == [0] * 4 + [1] * 4
    for phase in (0, 1):
        # the best four of eight are at least as good as the first four of them
        rows = first.phases == phase
        assert (np.sort(first.quality[rows]) >= np.sort(all_kept.quality[rows])).all()
    assert first.quality.mean() > all_kept.quality.mean()
