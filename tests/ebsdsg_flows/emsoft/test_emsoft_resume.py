"""A resumed master pattern has the numbers of an unbroken one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from ebsdsg_flows.engines.base import EngineFailure
from ebsdsg_flows.engines.emsoft.result_file import lowest_energy
from ebsdsg_flows.engines.emsoft.resume import (
    MARK,
    Unfinished,
    copy_for_restart,
    settle,
    thin_out,
    unfinished,
)
from ebsdsg_sim.blochwave import BlochWaveSolver
from ebsdsg_sim.depth_weights import depth_weights
from ebsdsg_sim.hdf5 import read_master_pattern
from ebsdsg_sim.lambert import grid_directions
from ebsdsg_sim.masterpattern import MasterPattern
from ebsdsg_sim.montecarlo import MonteCarlo
from ebsdsg_sim.structure_factors import absorption_length, fourier_table, site_weights

RECORDED_UNBROKEN = [0.108, 0.238, 0.198, 0.269, 0.292, 0.4]
RECORDED_RESTARTED = [0.114, 0.252, 0.21, 0.286, 0.312, 0.429]
"""Mean northern intensity of the 10 to 15 keV bins of Ni, from EMsoft itself (npx = 12)."""


@pytest.fixture(scope="module")
def nickel(shared: Path) -> Iterator[MasterPattern]:
    yield read_master_pattern(shared / "reference" / "emsoft" / "Ni.h5")


def intensities(
    mp: MasterPattern, mc: MonteCarlo, index: int, begun_at: float, nodes: np.ndarray
) -> np.ndarray:
    """Intensities as EMsoft computes them in a run that begins at an energy."""
    lengths = [absorption_length(mp.crystal, float(e), begun_at) for e in mc.energies]
    depths = depth_weights(mc, lengths)
    solver = BlochWaveSolver(
        mp.crystal,
        fourier_table(mp.crystal, float(mc.energies[index]), mp.parameters.dmin),
        site_weights(mp.crystal, mp.parameters.dmin),
        depths.weights[index],
        depths.depth_step,
        float(depths.thickness[index]),
        dmin=mp.parameters.dmin,
        bethe=mp.parameters.bethe,
        precision="float64",
    )
    values, _ = solver.intensities(nodes)
    return values.sum(axis=1)


def nodes_of(npx: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct directions of a small grid, 0 <= j <= i, and how often each occurs."""
    grid = np.asarray(grid_directions(npx)).reshape(2 * npx + 1, 2 * npx + 1, 3)
    pairs = [(i, j) for i in range(npx + 1) for j in range(i + 1)]
    often = [
        len({(a * x, b * y) for x, y in ((i, j), (j, i)) for a in (1, -1) for b in (1, -1)})
        for i, j in pairs
    ]
    return np.array([grid[j + npx, i + npx] for i, j in pairs]), np.array(often)


@pytest.mark.parametrize("index", [0, 3, 5])
def test_the_thinned_histogram_makes_a_restart_equal_to_an_unbroken_run(
    nickel: MasterPattern, index: int
) -> None:
    lowest, (nodes, often) = 6, nodes_of(12)
    mc = nickel.monte_carlo
    beam, start = float(mc.energies[-1]), float(mc.energies[lowest - 1])
    unbroken = intensities(nickel, mc, index, beam, nodes)
    restarted = intensities(nickel, mc, index, start, nodes)
    # this is what EMsoft does: its recorded means, both of them, to the digits recorded
    for values, recorded in ((unbroken, RECORDED_UNBROKEN), (restarted, RECORDED_RESTARTED)):
        mean = float((values * often).sum() / often.sum())
        assert mean == pytest.approx(recorded[index], abs=6e-4)
    # one factor per energy would not do
    scaled = restarted * (unbroken.mean() / restarted.mean())
    assert np.abs(scaled / unbroken - 1).max() > 1e-3
    thinned, scale = thin_out(mc, nickel.crystal, lowest)
    corrected = intensities(nickel, thinned, index, start, nodes) * scale[index]
    assert np.abs(corrected / unbroken - 1).max() < 1e-3


def test_thinning_keeps_whole_electrons_and_the_finished_energies(nickel: MasterPattern) -> None:
    mc = nickel.monte_carlo
    thinned, scale = thin_out(mc, nickel.crystal, 6)
    assert np.array_equal(thinned.accum_z[6:], mc.accum_z[6:])
    assert (thinned.accum_z <= mc.accum_z).all() and (thinned.accum_z >= 0).all()
    assert thinned.accum_z.dtype == mc.accum_z.dtype and scale.shape == (6,)
    assert (scale > 0.5).all() and (scale <= 1).all()
    beam, start = float(mc.energies[-1]), float(mc.energies[5])
    for index in range(6):
        energy = float(mc.energies[index])
        depth = np.arange(mc.accum_z.shape[1]) * mc.depth_step
        right = absorption_length(nickel.crystal, energy, beam)
        wrong = absorption_length(nickel.crystal, energy, start)
        wanted = mc.depth_histogram[index] * np.exp(2 * np.pi * depth * (1 / right - 1 / wrong))
        # to the electron, accumulated over depth
        assert np.abs(np.cumsum(thinned.depth_histogram[index] - wanted)).max() < 2


@pytest.fixture
def stopped(shared: Path, tmp_path: Path) -> Path:
    """TiC as a run leaves it that was ended in the sixth energy from below."""
    path = tmp_path / "stopped.h5"
    shutil.copyfile(shared / "reference" / "emsoft" / "TiC.h5", path)
    with h5py.File(path, "r+") as file:
        group = file["EMData/EBSDmaster"]
        group["lastEnergy"][0] = 7
        for name in ("mLPNH", "mLPSH"):
            group[name][:, :6] = 0
        for name in ("masterSPNH", "masterSPSH"):
            group[name][:6] = 0
    return path


def test_a_copy_is_restarted_and_the_original_is_not_touched(
    shared: Path, stopped: Path, tmp_path: Path
) -> None:
    whole = read_master_pattern(shared / "reference" / "emsoft" / "TiC.h5")
    args = (whole.crystal, whole.parameters)
    before = stopped.read_bytes()
    (best,) = unfinished([stopped], whole.monte_carlo, *args)
    assert best.lowest == 6
    copy = tmp_path / "copy.h5"
    assert copy_for_restart(best, copy, whole.monte_carlo, *args) == 6
    assert stopped.read_bytes() == before
    with h5py.File(copy) as file:
        mark = json.loads(bytes(file.attrs[MARK]))
        thinned = file["EMData/MCOpenCL/accum_z"][()].sum(axis=(0, 1, 2))
    assert mark["below"] == 6 and len(mark["scale"]) == 6
    assert (thinned[:6] < whole.monte_carlo.accum_z.sum(axis=(1, 2, 3))[:6]).all()

    # the restarted run is stopped too, after two energies: what it made is settled first
    with h5py.File(copy, "r+") as file:
        group = file["EMData/EBSDmaster"]
        for name in ("mLPNH", "mLPSH"):
            for index in (4, 5):
                factor = np.float32(mark["scale"][index])
                half = whole.north if name == "mLPNH" else whole.south
                group[name][:, index] = half[:, index] / factor
        group["lastEnergy"][0] = 5
    second = tmp_path / "second.h5"
    best, *others = unfinished([stopped, copy], whole.monte_carlo, *args)
    assert best.path == copy and best.lowest == 4 and len(others) == 1
    assert copy_for_restart(best, second, whole.monte_carlo, *args) == 4
    assert settle(second, whole.monte_carlo) and not settle(second, whole.monte_carlo)
    with h5py.File(second) as file, h5py.File(stopped) as first:
        assert MARK not in file.attrs
        name = "EMData/MCOpenCL/accum_z"
        assert np.array_equal(file[name][()], first[name][()])
        maps = file["EMData/EBSDmaster/mLPNH"][:, 4:]
    assert np.allclose(maps, whole.north[:, 4:], rtol=1e-6)
    assert lowest_energy(second, *args) == 4


def test_a_correction_that_is_broken_off_is_not_made_twice(
    shared: Path, stopped: Path, tmp_path: Path
) -> None:
    whole = read_master_pattern(shared / "reference" / "emsoft" / "TiC.h5")
    copy = tmp_path / "copy.h5"
    args = (copy, whole.monte_carlo, whole.crystal, whole.parameters)
    assert copy_for_restart(Unfinished(stopped, 6), *args) == 6
    with h5py.File(copy, "r+") as file:  # the restart ends
        mark = json.loads(bytes(file.attrs[MARK]))
        group = file["EMData/EBSDmaster"]
        for name, half in (("mLPNH", whole.north), ("mLPSH", whole.south)):
            for index, scale in enumerate(mark["scale"]):
                group[name][:, index] = half[:, index] / np.float32(scale)
        group["lastEnergy"][0] = 1

    class FullDisk:
        """The histogram is the last array to be written."""

        @property
        def accum_z(self) -> np.ndarray:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        settle(copy, FullDisk())  # type: ignore[arg-type]
    assert settle(copy, whole.monte_carlo)
    with h5py.File(copy) as file:
        for name, half in (("mLPNH", whole.north), ("mLPSH", whole.south)):
            assert np.allclose(file[f"EMData/EBSDmaster/{name}"][()], half, rtol=1e-6)
    assert {path.name for path in tmp_path.iterdir()} == {"stopped.h5", "copy.h5"}


def test_a_file_of_another_monte_carlo_is_not_continued(shared: Path, stopped: Path) -> None:
    whole = read_master_pattern(shared / "reference" / "emsoft" / "TiC.h5")
    args = (whole.crystal, whole.parameters)
    assert unfinished([stopped], whole.monte_carlo, *args)
    other = replace(whole.monte_carlo, accum_e=whole.monte_carlo.accum_e[:, ::-1])
    assert not unfinished([stopped], other, *args)


def test_files_that_cannot_be_trusted_are_not_continued(
    shared: Path, stopped: Path, tmp_path: Path
) -> None:
    whole = read_master_pattern(shared / "reference" / "emsoft" / "TiC.h5")
    args = (whole.crystal, whole.parameters)
    torn = tmp_path / "torn.h5"
    torn.write_bytes(stopped.read_bytes()[:100_000])
    mc = whole.monte_carlo
    assert not unfinished([torn, tmp_path / "none.h5"], mc, *args)
    other = replace(whole.parameters, npx=51)
    with pytest.raises(EngineFailure):
        lowest_energy(stopped, whole.crystal, other)
    with pytest.raises(EngineFailure):
        lowest_energy(stopped, whole.crystal.with_debye_waller(0.005), whole.parameters)
    for change in (
        *("nan", "constant", "none", "no disc", "disc nan", "disc shape"),
        *("work groups", "no number", "groups"),
    ):
        bad = tmp_path / f"{change}.h5"
        shutil.copyfile(stopped, bad)
        with h5py.File(bad, "r+") as file:
            group = file["EMData/EBSDmaster"]
            if change == "nan":
                group["mLPSH"][0, 8, 3, 3] = np.nan
            elif change == "constant":  # as after a restart before the first energy
                group["mLPNH"][:, 10] = 0.3
            elif change == "no disc":
                del group["masterSPNH"]
            elif change == "disc nan":
                group["masterSPSH"][8, 3, 3] = np.nan
            elif change == "disc shape":
                del group["masterSPSH"]
                group["masterSPSH"] = np.zeros((11, 3, 3), dtype=np.float32)
            elif change == "work groups":  # a division by zero
                file["NMLparameters/MCCLNameList/globalworkgrpsz"][0] = 0
            elif change == "no number":
                del group["numset"]
                group["numset"] = np.array([b"?"])
            elif change == "groups":
                del file["CrystalData/AtomData"]
                file.create_group("CrystalData/AtomData")
            else:
                group["lastEnergy"][0] = -1
        assert not unfinished([bad], mc, *args), change
