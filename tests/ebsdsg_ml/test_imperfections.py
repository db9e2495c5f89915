"""Imperfections: their physics, their chance, their dictionary."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from ebsdsg_ml.imperfections import (
    PARTS,
    Blur,
    Chance,
    CircularMask,
    Counts,
    DetectorImperfections,
    DynamicCorrection,
    GeometryJitter,
    HotPixels,
    ImperfectionError,
    LensDistortion,
    Quantisation,
    Response,
    Saturation,
    StaticCorrection,
)
from ebsdsg_sim.detector import Detector
from ebsdsg_sim.hdf5 import read_master_pattern
from ebsdsg_sim.orientation import random_rotations
from ebsdsg_sim.projection import Projector

EVERYTHING = DetectorImperfections(
    energy_shift=(-0.5, 0.5),
    geometry=GeometryJitter(0.01, 0.01, (0.0, 0.01), 0.5),
    distortion=LensDistortion((-0.02, 0.02)),
    counts=Counts(dwell_time=(200.0, 800.0), frames=2),
    blur=Blur((0.0, 0.01)),
    response=Response((0.1, 0.3), 0.1, 0.05),
    hot_pixels=HotPixels(0.002, 3.0, fixed=False),
    saturation=Saturation((1.8, 3.0)),
    static=StaticCorrection(),
    dynamic=DynamicCorrection(),
    mask=CircularMask(0.48),
    quantisation=Quantisation(),
)


def scene(n: int = 4, height: int = 48, width: int = 64) -> torch.Tensor:
    """Smooth positive patterns of different contrast."""
    y, x = torch.meshgrid(torch.arange(height) / 9, torch.arange(width) / 11, indexing="ij")
    return torch.stack([2 + torch.sin(x + i) * torch.cos(y * (1 + i / 3)) for i in range(n)])


def test_a_pattern_depends_on_seed_and_index_alone():
    patterns, flat = scene(), torch.ones(48, 64)
    together = EVERYTHING(patterns, 7, [3, 11, 5, 200], flat)
    assert together.dtype == torch.uint8
    for position, index in ((0, 3), (3, 200)):
        alone = EVERYTHING(patterns[position : position + 1], 7, [index], flat)
        assert torch.equal(alone[0], together[position])
    again = EVERYTHING(patterns, 7, [3, 11, 5, 200], flat)
    other = EVERYTHING(patterns, 8, [3, 11, 5, 200], flat)
    assert torch.equal(again, together)
    assert not torch.equal(other, together)
    same = EVERYTHING(patterns[:1].repeat(2, 1, 1), 7, [1, 2], flat)
    assert not torch.equal(same[0], same[1])
    assert torch.equal(patterns, scene())  # the input is left alone


def test_switching_one_part_on_does_not_change_the_chance_of_another():
    patterns = scene()
    noisy = DetectorImperfections(counts=Counts(dwell_time=(1, 9)))
    more = replace(noisy, hot_pixels=HotPixels(0.01))
    a, b = (p(patterns, 1, range(4)) for p in (noisy, more))
    hot = a != b
    assert 0 < hot.float().mean() < 0.03


def test_more_patterns_than_a_batch():
    patterns = scene(40)
    part = DetectorImperfections(counts=Counts(), blur=Blur((0, 0.02)))
    everything = part(patterns, 0, range(40))
    assert everything.shape == patterns.shape
    assert torch.equal(everything[33:35], part(patterns[33:35], 0, [33, 34]))
    assert part(patterns[:0], 0, []).shape == (0, 48, 64)


@pytest.mark.parametrize(("dwell", "frames"), [(2.0, 1), (2.0, 16), (3000.0, 4)])
def test_counts_have_the_mean_and_the_variance_of_averaged_poisson_frames(dwell, frames):
    counts = Counts(beam_current=10.0, dwell_time=dwell, efficiency=0.05, frames=frames)
    chance = Chance(0, range(200))
    flat = torch.full((200, 32, 32), 0.37)
    seen = counts(flat, chance)
    expected = 10e-9 * dwell * 1e-6 / 1.602176634e-19 * 0.05 / 1024
    assert float(counts.electrons(1024, chance)[0]) == pytest.approx(expected, rel=1e-6)
    n = seen.numel()
    assert float(seen.mean()) == pytest.approx(expected, abs=5 * np.sqrt(expected / frames / n))
    assert float(seen.var()) == pytest.approx(expected / frames, rel=0.02)
    # Whole electrons in every frame, so whole multiples of 1/frames.
    assert torch.allclose(seen * frames, (seen * frames).round(), atol=2e-2)


def test_noise_is_that_of_each_pixels_own_count():
    steps = torch.linspace(0.5, 4, 16).repeat(500, 16, 1)
    seen = Counts(dwell_time=2.0)(steps, Chance(3, range(500)))  # 30 to 220 electrons
    ratio = seen.var(dim=(0, 1)) / seen.mean(dim=(0, 1))
    assert (ratio - 1).abs().max() < 0.1


def test_blur_spreads_a_point_into_the_gaussian_asked_for():
    point = torch.zeros(2, 65, 65)
    point[:, 32, 32] = 1
    sigma = (0.01, 0.05)
    chance = Chance(0, [4, 9])
    blurred = Blur(sigma)(point, chance)
    drawn = chance.amounts("blur.sigma", sigma) * 65
    at = torch.arange(65.0) - 32
    for image, s in zip(blurred, drawn, strict=True):
        assert float(image.sum()) == pytest.approx(1, abs=1e-5)
        for axis in (0, 1):
            variance = float((image.sum(dim=axis) * at**2).sum())
            assert variance == pytest.approx(float(s) ** 2, rel=0.05, abs=0.02)
    assert torch.allclose(Blur(0.03)(torch.ones(1, 20, 30), Chance(0, [0])), torch.ones(1, 20, 30))


def test_barrel_distortion_moves_features_towards_the_middle():
    x = torch.arange(201.0)
    ring = (-((torch.hypot(x[:, None] - 100, x - 100) - 60) ** 2) / 8).exp()[None]

    def radius(k1):
        row = LensDistortion(k1)(ring, Chance(0, [0]))[0, 100, 100:]
        return float(row.argmax())

    assert radius(0.1) < radius(0.0) == 60 < radius(-0.1)
    # r (1 + k1 r^2) = 60 in units of 100.5 pixels.
    for k1 in (0.1, -0.1):
        r = radius(k1) / 100.5
        assert r * (1 + k1 * r * r) == pytest.approx(60 / 100.5, abs=0.01)
    assert torch.allclose(LensDistortion(0.0)(ring, Chance(0, [0])), ring, atol=1e-5)


def test_response_is_dark_in_the_corners_and_never_below_the_dark_level():
    seen = Response(vignetting=0.4, dark=0.2)(torch.ones(1, 101, 101), Chance(0, [0]))[0]
    assert float(seen[50, 50]) == pytest.approx(1.2)
    assert float(seen[50, 0]) == pytest.approx(0.2 + 1 - 0.4 * (100 / 101) ** 2)
    assert float(seen[0, 0]) == pytest.approx(0.2 + 1 - 0.8 * (100 / 101) ** 2)
    light = Response(stray=0.3)(torch.ones(1, 11, 101), Chance(0, [0]))[0]
    assert float(light.mean()) == pytest.approx(1.3)
    assert light[0, 0] < light[0, -1]


def test_hot_pixels_belong_to_the_camera_or_to_the_pattern():
    patterns = torch.ones(3, 100, 100)
    for fixed in (True, False):
        hot = HotPixels(0.01, 5.0, fixed)(patterns, Chance(2, range(3))) > 1
        assert hot.float().mean() == pytest.approx(0.01, abs=0.003)
        assert torch.equal(hot[0], hot[1]) is fixed
    assert HotPixels(1.0, 2.0)(patterns, Chance(2, range(3))).mean() == pytest.approx(2.0, abs=0.05)


def test_saturation_cuts_off_and_leaves_the_rest():
    patterns = scene(2)
    cut = Saturation(1.1)(patterns, Chance(0, [0, 1]))
    limit = 1.1 * patterns.mean(dim=(1, 2), keepdim=True)
    assert torch.equal(cut, torch.minimum(patterns, limit))
    assert (cut == limit).float().mean() > 0.1


@pytest.mark.parametrize("operation", ["subtract", "divide"])
def test_static_correction_takes_the_camera_away(operation):
    """With a background image of the same camera, what is left is the pattern without camera."""
    pattern = scene(2)
    y, x = torch.meshgrid(torch.linspace(2, 1, 48), torch.linspace(1, 1.5, 64), indexing="ij")
    flat = y * x
    camera = {"response": Response(0.5, 0.0, 0.2), "hot_pixels": HotPixels(0.01, 2.0)}
    plain = DetectorImperfections(static=StaticCorrection(operation))
    dirty = replace(plain, **camera)
    crystal = pattern / 2 if operation == "divide" else None
    if crystal is not None:
        corrected = plain(crystal * flat, 0, [0, 1], flat)
        assert ncc(corrected, crystal) > 0.999999
    clean, cleaned = (p(pattern * flat, 0, [0, 1], flat) for p in (plain, dirty))
    uncorrected = replace(dirty, static=None)(pattern * flat, 0, [0, 1])
    assert ncc(cleaned, clean) > 0.94 > ncc(uncorrected, clean)


def ncc(a: torch.Tensor, b: torch.Tensor) -> float:
    rows = [torch.stack((x.flatten(), y.flatten())) for x, y in zip(a, b, strict=True)]
    return min(float(torch.corrcoef(pair)[0, 1]) for pair in rows)


def test_static_correction_needs_its_background():
    with pytest.raises(ImperfectionError, match=r"Projector.background"):
        DetectorImperfections(static=StaticCorrection())(scene(), 0, range(4))
    with pytest.raises(ImperfectionError, match="indices"):
        DetectorImperfections()(scene(), 0, range(3))


@pytest.mark.parametrize("operation", ["subtract", "divide"])
def test_dynamic_correction_takes_slow_changes_away(operation):
    y = torch.linspace(0, 1, 96)[:, None].expand(96, 128)
    fine = 0.2 * torch.sin(torch.arange(128.0)).expand(96, 128)
    corrected = DynamicCorrection(operation, 0.05)((3 + 2 * y + fine)[None])[0]
    rows = corrected[20:-20].mean(dim=1)  # near an edge half of the blur is missing
    assert float(rows.max() - rows.min()) < 0.02
    assert ncc(corrected[None, 20:-20, 20:-20], fine[None, 20:-20, 20:-20]) > 0.95


def test_mask_is_round_and_dark():
    masked = CircularMask(0.4)(scene(1, 50, 70), Chance(0, [0]))[0]
    inside = masked != masked[0, 0]
    assert inside.float().sum() == pytest.approx(np.pi * 20**2, rel=0.03)
    assert masked.min() == masked[0, 0]
    assert not inside[:, :14].any() and not inside[:4].any()


@pytest.mark.parametrize("bits", [8, 4, 1])
def test_quantisation_gives_whole_levels_of_the_full_range(bits):
    levels = Quantisation(bits)(scene())
    assert levels.dtype == torch.uint8
    assert levels.amin() == 0 and levels.amax() == 2**bits - 1
    assert len(levels.unique()) == min(2**bits, 256)
    assert (Quantisation(bits)(torch.ones(1, 4, 4)) == 0).all()


def test_clipping_keeps_the_contrast_of_the_rest():
    patterns = scene(1)
    patterns[0, 5, 5] = 1000
    plain, clipped = Quantisation()(patterns), Quantisation(clip=0.001)(patterns)
    assert len(plain.unique()) < 5 < 200 < len(clipped.unique())


def test_geometry_jitter_has_the_deviations_asked_for():
    shifts = GeometryJitter(0.02, 0.0, 0.01, 1.5).shifts(3, range(4000))
    assert shifts.pc[:, 0].std() == pytest.approx(0.02, rel=0.05)
    assert (shifts.pc[:, 1] == 0).all()
    assert shifts.tilt.std() == pytest.approx(1.5, rel=0.05)
    assert np.abs(shifts.pc[:, 2]).max() <= 0.0301
    one = GeometryJitter(0.02, 0.0, 0.01, 1.5).shifts(3, [17])
    assert np.array_equal(one.pc[0], shifts.pc[17])


def test_the_dictionary_gives_the_same_imperfections_back():
    text = json.dumps(EVERYTHING.to_dict())
    assert DetectorImperfections.from_dict(json.loads(text)) == EVERYTHING
    assert set(EVERYTHING.to_dict()) == {"energy_shift", *PARTS}
    assert DetectorImperfections().to_dict() == {}
    assert DetectorImperfections.from_dict({"counts": True, "mask": False}) == (
        DetectorImperfections(counts=Counts())
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"noise": {}}, "noise"),
        ({"blur": {"width": 1}}, "width"),
        ({"blur": 3}, "mapping"),
        ({"blur": {"sigma": [0.2, 0.1]}}, r"blur\.sigma"),
        ({"blur": {"sigma": -1}}, r"blur\.sigma"),
        ({"blur": {"sigma": True}}, r"blur\.sigma"),
        ({"counts": {"frames": 0}}, "frames"),
        ({"counts": {"efficiency": 2}}, "efficiency"),
        ({"quantisation": {"bits": 12}}, "bits"),
        ({"quantisation": {"clip": 0.7}}, "clip"),
        ({"static": {"operation": "add"}}, "operation"),
        ({"hot_pixels": {"fixed": 1}}, "fixed"),
        ({"energy_shift": 50}, "energy_shift"),
        ({"geometry": {"tilt": float("nan")}}, "tilt"),
    ],
)
def test_unusable_entries_are_refused(values, message):
    with pytest.raises(ImperfectionError, match=message):
        DetectorImperfections.from_dict(values)


def test_negative_intensities_cannot_be_counted():
    with pytest.raises(ImperfectionError, match="negative"):
        Counts()(-scene(), Chance(0, range(4)))


def test_patterns_of_a_projector_with_everything(shared):
    nickel = read_master_pattern(shared / "reference/emsoft/Ni.h5")
    options = EVERYTHING.projector_options(0, 5)
    assert -0.5 <= options["energy_shift"] <= 0.5
    projector = Projector(nickel, Detector.paper(64), energy_weights="fast", **options)
    q = random_rotations(5, 1)
    patterns = EVERYTHING.patterns(projector, q, 0, range(10, 15))
    assert patterns.shape == (5, 64, 64) and patterns.dtype == torch.uint8
    alone = EVERYTHING.patterns(projector, q[2:3], 0, [12])[0]
    apart = (alone.int() - patterns[2].int()).abs()
    assert apart.max() <= 1  # sums over other batches may round otherwise in the last bit,
    assert (apart > 0).sum() <= 4  # which now and then is a grey level
    ideal = DetectorImperfections(static=StaticCorrection()).patterns(projector, q, 0, range(5))
    gentle = DetectorImperfections(
        static=StaticCorrection(), counts=Counts(frames=30), geometry=GeometryJitter(0.002, 0.002)
    ).patterns(projector, q, 0, range(5))
    assert 0.9 < ncc(gentle, ideal) < 0.9999


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_statistics():
    patterns = scene().cuda()
    seen = EVERYTHING(patterns, 0, range(4), torch.ones(48, 64, device="cuda"))
    assert seen.device.type == "cuda"
    assert torch.equal(seen, EVERYTHING(patterns, 0, range(4), torch.ones(48, 64, device="cuda")))
    part = DetectorImperfections(distortion=LensDistortion((-0.1, 0.1)), blur=Blur((0, 0.03)))
    assert torch.allclose(part(patterns, 0, range(4)).cpu(), part(scene(), 0, range(4)), atol=1e-4)
