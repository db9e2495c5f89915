"""Projection: EMEBSD's patterns, kikuchipy's patterns, symmetry, energy weights."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from ebsdsg_sim import projection
from ebsdsg_sim.detector import Detector, GeometryShift
from ebsdsg_sim.energy_weights import electrons_per_pixel, shifted_energies
from ebsdsg_sim.hdf5 import read_master_pattern, write_master_pattern
from ebsdsg_sim.masterpattern import MasterPattern
from ebsdsg_sim.orientation import (
    euler_to_quaternion,
    matrix_to_quaternion,
    multiply,
    random_rotations,
)
from ebsdsg_sim.projection import ProjectionError, Projector, to_uint8

EMEBSD = Detector((229, 229), 23.0, 19_100.0, 13.7, ypc=7.434783)


def ncc(a, b) -> np.ndarray:
    """Normalised cross-correlation of every pair of patterns."""
    a, b = (np.asarray(p, dtype=np.float64).reshape(len(p), -1) for p in (a, b))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    return (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))


@pytest.fixture(scope="module")
def nickel(shared: Path) -> MasterPattern:
    return read_master_pattern(shared / "reference/emsoft/Ni.h5")


@pytest.fixture(scope="module")
def quaternions(shared: Path) -> np.ndarray:
    return euler_to_quaternion(np.loadtxt(shared / "reference/patterns/eulers20.txt", skiprows=2))


@pytest.mark.parametrize(
    ("file", "weights", "prefactor"),
    [("Ni_lin.h5", "exact", 6.2409998e3 * 150 * 100), ("Ni_not_nobg.h5", "none", 93.614997)],
)
def test_patterns_are_emebsds(shared, nickel, quaternions, file, weights, prefactor):
    with h5py.File(shared / "reference/patterns" / file) as f:
        theirs = f["EMData/EBSD/EBSDPatterns"][()]
    projector = Projector(nickel, EMEBSD, energy_weights=weights, exit_counts="counts")
    ours = projector.patterns(quaternions).numpy() * prefactor
    assert ncc(ours, theirs).min() > 0.9999999
    # Absolute scale, too; single precision in EMEBSD's angles moves the noisy background a little.
    assert np.abs(ours / theirs - 1).max() < 5e-3
    assert np.median(ours / theirs) == pytest.approx(1, abs=1e-5)


def test_smooth_weights_are_the_counts_without_their_noise(nickel):
    counts, smooth = (
        electrons_per_pixel(nickel.monte_carlo, Detector.paper(60), exit_counts=kind)
        for kind in ("counts", "smooth")
    )
    assert np.allclose(counts.sum(axis=(1, 2)), smooth.sum(axis=(1, 2)), rtol=0.05)
    rough, fine = (np.abs(np.diff(w.sum(axis=0), axis=1)).mean() for w in (counts, smooth))
    assert fine < 0.1 * rough


def test_exact_weights_need_few_maps_and_lose_less_than_a_grey_level(nickel, monkeypatch):
    q = random_rotations(3, 0)
    projector = Projector(nickel, Detector.paper(80))
    few = projector.patterns(q)
    monkeypatch.setattr("ebsdsg_sim.energy_weights.TOLERANCE", 0.0)
    complete = Projector(nickel, Detector.paper(80))
    assert projector.n_maps <= 4 < complete.n_maps == 11
    every = complete.patterns(q)
    contrast = every.amax(dim=(1, 2)) - every.amin(dim=(1, 2))
    assert ((few - every).abs().amax(dim=(1, 2)) / contrast).max() < 1 / 512


def test_exact_is_the_weighted_sum_of_the_energies_one_by_one(nickel):
    detector, q = Detector.paper(40), random_rotations(2, 4)
    weights = electrons_per_pixel(nickel.monte_carlo, detector)
    alone = [
        Projector(nickel, detector, energy_weights="none", energies=(e, e)).patterns(q)
        for e in nickel.energies
    ]
    expected = sum(
        a * torch.from_numpy(w).float() for a, w in zip(alone, weights, strict=True)
    ).numpy()
    assert ncc(Projector(nickel, detector).patterns(q), expected).min() > 0.99999


@pytest.mark.parametrize("file", ["Ni_lin.h5", "Ni_not_nobg.h5"])
def test_fast_patterns_are_nearly_emebsds(shared, nickel, quaternions, file):
    with h5py.File(shared / "reference/patterns" / file) as f:
        theirs = f["EMData/EBSD/EBSDPatterns"][()]
    if file == "Ni_lin.h5":
        fast = Projector(nickel, EMEBSD, energy_weights="fast", exit_counts="counts")
        assert ncc(fast.patterns(quaternions), theirs).min() > 0.997
    else:
        # EMEBSD without background adds up the energies as they are: equal weights.
        flat = np.ones_like(nickel.monte_carlo.accum_e)
        even = replace(nickel, monte_carlo=replace(nickel.monte_carlo, accum_e=flat))
        fast = Projector(
            even, EMEBSD, energy_weights="fast", exit_counts="counts", background=False
        )
        assert ncc(fast.patterns(quaternions), theirs).min() > 0.997


def test_fast_is_one_map_and_close_to_exact(nickel):
    detector, q = Detector.paper(100), random_rotations(20, 1)
    exact = Projector(nickel, detector).patterns(q)
    fast = Projector(nickel, detector, energy_weights="fast")
    assert fast.n_maps == 1
    assert ncc(exact, fast.patterns(q)).min() > 0.996
    assert torch.allclose(exact.mean(dim=(1, 2)), fast.patterns(q).mean(dim=(1, 2)), rtol=0.01)


@pytest.mark.parametrize("weights", ["fast", "exact"])
def test_shifted_geometry_is_that_of_a_shifted_detector(nickel, weights):
    detector, q = Detector((50, 70), 300.0, 16_000.0, 9.0, 3.0, 5.0), random_rotations(3, 6)
    pc = np.array([[0.02, -0.03, 0.05], [0.0, 0.0, 0.0], [-0.1, 0.02, -0.04]])
    tilt = np.array([0.0, 2.0, -1.0])
    # Unweighted, because the weights stay those of the mean geometry.
    options = {"energy_weights": weights, "background": False, "energies": (18, 18)}
    together = Projector(nickel, detector, **options).patterns(q, GeometryShift(pc, tilt))
    for i, (shift, angle) in enumerate(zip(pc, tilt, strict=True)):
        moved = replace(
            detector,
            tilt=9.0 + angle,
            xpc=3.0 - 70 * shift[0],
            ypc=5.0 - 50 * shift[1],
            distance=16_000.0 + 50 * 300 * shift[2],
        )
        alone = Projector(nickel, moved, **options).patterns(q[i])
        assert torch.allclose(together[i], alone[0], rtol=1e-3)
    with pytest.raises(ProjectionError, match="3 shifts for 2"):
        Projector(nickel, detector).patterns(q[:2], GeometryShift(pc, tilt))


@pytest.mark.parametrize("weights", ["fast", "exact"])
def test_background_is_the_number_of_electrons_in_each_pixel(nickel, weights):
    detector, q = Detector.paper(60), random_rotations(3, 2)
    with_it, without = (
        Projector(nickel, detector, energy_weights=weights, background=b).patterns(q).numpy()
        for b in (True, False)
    )
    electrons = electrons_per_pixel(nickel.monte_carlo, detector).sum(axis=0)
    assert ncc(with_it, without * electrons).min() > 0.9998
    # What is left is intensities of the master pattern, brightest to darkest a few times.
    assert without.max() / without.min() < with_it.max() / with_it.min()


@pytest.mark.parametrize("solid_angle", ["physical", "emsoft"])
@pytest.mark.parametrize("exit_counts", ["smooth", "counts"])
def test_no_electron_comes_from_below_the_surface(nickel, exit_counts, solid_angle):
    low = Detector((60, 60), 500.0, 15_000.0, tilt=40.0)
    below = low.directions()[..., 2] < 0
    options = {"exit_counts": exit_counts, "solid_angle": solid_angle}
    electrons = electrons_per_pixel(nickel.monte_carlo, low, **options)
    assert below.sum() == 780 and not electrons[:, below].any()
    if exit_counts == "smooth":
        assert (electrons[:, ~below].sum(axis=0) > 0).all()
    projector = Projector(nickel, low, energy_weights="fast", background=False, **options)
    pattern = projector.patterns([1.0, 0, 0, 0])[0].numpy()
    assert not pattern[below].any() and pattern[~below].mean() > 0
    # none on the paper's screen, whose patterns are EMEBSD's
    assert (Detector.paper(60).directions()[..., 2] > 0.1).all()


def test_symmetrically_equivalent_orientations_give_the_same_pattern(nickel):
    projector = Projector(nickel, Detector.paper(60), energy_weights="fast")
    q = random_rotations(1, 9)
    proper = [m for m in nickel.crystal.point_group if np.linalg.det(m) > 0]
    assert len(proper) == 24
    reference = projector.patterns(q)
    for matrix in proper:
        same = projector.patterns(multiply(matrix_to_quaternion(matrix), q))
        on_grid = np.isclose(abs(matrix[2, 2]), 1)  # keeps the Lambert square in place
        assert ncc(reference, same)[0] > (0.999999 if on_grid else 0.95)


def polar(nickel: MasterPattern) -> MasterPattern:
    """A pattern whose southern half differs from the northern one."""
    return MasterPattern(
        nickel.north,
        np.ascontiguousarray(nickel.south[..., ::-1] * 2),
        nickel.energies,
        nickel.crystal,
        nickel.parameters,
        nickel.monte_carlo,
    )


@pytest.mark.parametrize("weights", ["fast", "exact"])
def test_southern_directions_read_the_southern_map(nickel, weights):
    mp = polar(nickel)
    detector = Detector.paper(50)
    north_only = MasterPattern(
        mp.north, mp.north, mp.energies, mp.crystal, mp.parameters, mp.monte_carlo
    )
    south_only = MasterPattern(
        mp.south, mp.south, mp.energies, mp.crystal, mp.parameters, mp.monte_carlo
    )
    q = random_rotations(6, 12)
    options = {"energy_weights": weights, "exit_counts": "counts"}
    if weights == "fast":
        options["energies"] = (15, 15)  # else each pattern combines the energies in its own way
    both, north, south = (
        Projector(m, detector, **options).patterns(q) for m in (mp, north_only, south_only)
    )
    scale = float(both.abs().max())
    close_north, close_south = ((both - o).abs() < 1e-4 * scale for o in (north, south))
    # On a stereographic map the southern values reach a pixel beyond the equator.
    assert (close_north | close_south).float().mean() >= (1 if weights == "exact" else 0.99)
    assert 0.1 < close_north.float().mean() < 0.9


def test_kikuchipy_reads_our_file_and_projects_the_same_patterns(nickel, tmp_path):
    import kikuchipy
    from orix import quaternion as orix

    mp = polar(nickel)
    write_master_pattern(tmp_path / "ni.h5", mp)
    loaded = kikuchipy.load(tmp_path / "ni.h5", projection="lambert", hemisphere="both")
    assert loaded.data.shape == (2, 11, 201, 201)
    assert loaded.phase.space_group.number == 225
    stereographic = kikuchipy.load(tmp_path / "ni.h5")
    assert stereographic.data.shape == (11, 201, 201)
    detector = Detector((60, 80), 90.0, 17_000.0, 5.0, xpc=6.0, ypc=8.0)
    theirs = loaded.get_patterns(
        orix.Rotation(q := random_rotations(4, 3)),
        kikuchipy.detectors.EBSDDetector(
            shape=(60, 80),
            pc=detector.pc(),
            tilt=5.0,
            sample_tilt=70.0,
            convention="bruker",
        ),
        energy=15,
        dtype_out="float32",
        compute=True,
        show_progressbar=False,
    ).data
    ours = Projector(mp, detector, energy_weights="none", energies=(15, 15)).patterns(q)
    assert ncc(ours, theirs).min() > 0.99999


@pytest.mark.parametrize("counts", ["smooth", "counts"])
def test_any_number_of_patterns_at_once(nickel, monkeypatch, counts):
    q = random_rotations(7, 8)
    projector = Projector(polar(nickel), Detector.paper(30), exit_counts=counts)
    together = projector.patterns(q)
    monkeypatch.setitem(projection.PIXELS, "cpu", 3 * 900)  # batches of 3, 3 and 1
    assert torch.equal(projector.patterns(q), together)
    assert torch.allclose(projector.patterns(q[4])[0], together[4])
    assert projector.patterns(np.empty((0, 4))).shape == (0, 30, 30)


@pytest.mark.parametrize("weights", ["exact", "fast", "none"])
def test_a_prepared_projector_gives_the_same_bits(nickel, weights):
    detector, q = Detector.paper(size=40), random_rotations(5, 0)
    for mp in (nickel, polar(nickel)):
        projector = Projector(mp, detector, energy_weights=weights)
        again = Projector.from_prepared(*projector.prepared, detector)
        assert torch.equal(projector.patterns(q), again.patterns(q))


def test_to_uint8_uses_the_whole_range_of_every_pattern():
    patterns = torch.rand(3, 20, 20) * torch.tensor([1.0, 1e-6, 1e6])[:, None, None]
    eight = to_uint8(patterns)
    assert eight.dtype == torch.uint8
    assert (eight.amin(dim=(1, 2)) == 0).all()
    assert (eight.amax(dim=(1, 2)) == 255).all()
    assert (to_uint8(torch.ones(2, 4, 4)) == 0).all()
    with pytest.raises(ProjectionError, match="finite"):
        to_uint8(torch.tensor([[[1.0, float("nan")]]]))


def test_bad_requests_are_refused(nickel):
    with pytest.raises(ProjectionError, match="sample tilt of 60"):
        Projector(nickel, Detector((5, 5), 50.0, 1e4, sample_tilt=60.0))
    with pytest.raises(ProjectionError, match="between 1 and 2"):
        Projector(nickel, EMEBSD, energies=(1, 2))
    for option in ("energy_weights", "exit_counts", "solid_angle"):
        with pytest.raises(ProjectionError, match=option):
            Projector(nickel, EMEBSD, **{option: "guess"})
    with pytest.raises(ProjectionError, match=r"energy_shift = 0\.5"):
        Projector(nickel, EMEBSD, energy_weights="none", energy_shift=0.5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("counts", ["smooth", "counts"])
def test_gpu_patterns_are_the_cpus(nickel, counts):
    q = random_rotations(4, 2)
    cpu, gpu = (
        Projector(nickel, Detector.paper(100), exit_counts=counts, device=d).patterns(q).cpu()
        for d in ("cpu", "cuda")
    )
    assert ncc(cpu, gpu).min() > 0.999999


@pytest.mark.parametrize("weights", ["exact", "fast", "none"])
def test_background_is_the_mean_of_many_orientations(nickel, weights):
    projector = Projector(polar(nickel), Detector.paper(32), energy_weights=weights)
    many = projector.patterns(random_rotations(3000, 4)).mean(dim=0)
    assert ((projector.background() / many) - 1).abs().max() < 0.06
    assert (projector.background() / many).mean() == pytest.approx(1, abs=0.01)


def test_energy_shift_moves_the_mean_energy_and_narrows_the_bands(nickel):
    weights = electrons_per_pixel(nickel.monte_carlo, Detector.paper(10))
    energies = nickel.energies
    moved = shifted_energies(weights, energies, -0.4)
    mean, new = (np.average(energies, weights=w.sum(axis=(1, 2))) for w in (weights, moved))
    assert new - mean == pytest.approx(-0.4, abs=0.02)  # the lowest bin stays
    assert np.allclose(moved.sum(axis=0), weights.sum(axis=0))
    q = random_rotations(3, 1)
    options = {"energy_weights": "fast", "energies": (12, 20)}
    as_is, lower, one = (
        Projector(nickel, Detector.paper(100), **o).patterns(q)
        for o in (options, options | {"energy_shift": -3.0}, {"energies": (14, 14)})
    )
    assert ncc(lower, one).mean() > ncc(as_is, one).mean()
    with pytest.raises(ProjectionError, match="energy_shift"):
        Projector(nickel, Detector.paper(10), energy_shift=float("nan"))
