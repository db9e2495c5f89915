"""HDF5 files: EMsoft's are read, ours come back as they were, broken ones are named."""

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from ebsdsg_sim.crystal import Crystal, Site
from ebsdsg_sim.emsoft_layout import nominal_electrons
from ebsdsg_sim.hdf5 import (
    MasterPatternFileError,
    read_master_pattern,
    read_monte_carlo,
    read_unfinished,
    write_master_pattern,
    write_monte_carlo,
)
from ebsdsg_sim.hdf5_file import FileRefusedError, refusal
from ebsdsg_sim.masterpattern import MasterPattern
from ebsdsg_sim.montecarlo import MonteCarlo
from ebsdsg_sim.parameters import SimulationParameters
from ebsdsg_sim.standard_structure import distances

PARAMETERS = SimulationParameters(
    npx=6, energy_min=18, mc_pixels=51, depth_max=30, n_electrons=5_000, max_scatterings=300
)
# A third has no exact float32, and a name no ASCII: the file must bring both back.
CRYSTAL = Crystal(
    "α-Al₂O₃",
    (0.4759, 0.4759, 1.2991, 90.0, 90.0, 120.0),
    167,
    460,
    (Site("Al", (0, 0, 0.352)), Site("O", (0.3064, 0, 0.25), debye_waller=0.0051)),
)


def example(crystal: Crystal = CRYSTAL) -> MasterPattern:
    rng = np.random.default_rng(0)
    p = PARAMETERS
    monte_carlo = MonteCarlo(
        rng.integers(0, 5, (3, 51, 51)).astype(np.int32),
        rng.integers(0, 5, (3, p.n_depths, 5, 5)).astype(np.int32),
        p.energies,
        p.depth_step,
        p.n_electrons,
        p.n_electrons,
        seed=4,
        cpu_seconds=1.25,
    )
    north, south = rng.random((2, len(crystal.sites), 3, 13, 13), dtype=np.float32)
    return MasterPattern(
        north, south, p.energies, crystal, p, monte_carlo, {"engine": "builtin", "note": "≥"}
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_master_pattern(tmp_path / "mp.h5", example())
    return tmp_path / "mp.h5"


def test_everything_comes_back_as_it_was(file):
    mp, back = example(), read_master_pattern(file)
    assert np.array_equal(back.north, mp.north)
    assert np.array_equal(back.south, mp.south)
    assert np.array_equal(back.energies, mp.energies)
    assert back.crystal == mp.crystal
    assert back.parameters == mp.parameters
    assert back.provenance == mp.provenance
    a, b = back.monte_carlo, mp.monte_carlo
    assert np.array_equal(a.accum_e, b.accum_e)
    assert np.array_equal(a.accum_z, b.accum_z)
    assert (a.seed, a.n_electrons, a.n_simulated, a.cpu_seconds) == (4, 5_000, 5_000, 1.25)
    assert [p.name for p in file.parent.iterdir()] == ["mp.h5"]


def test_monte_carlo_alone_comes_back(tmp_path):
    mp = example()
    write_monte_carlo(tmp_path / "mc.h5", mp.monte_carlo, mp.crystal, mp.parameters)
    monte_carlo, crystal, parameters = read_monte_carlo(tmp_path / "mc.h5")
    assert np.array_equal(monte_carlo.accum_z, mp.monte_carlo.accum_z)
    assert (crystal, parameters) == (mp.crystal, mp.parameters)
    with pytest.raises(MasterPatternFileError, match="no master pattern"):
        read_master_pattern(tmp_path / "mc.h5")


def test_emsofts_own_files_become_the_same_objects(shared):
    mp = read_master_pattern(shared / "reference/emsoft/NiAl.h5")
    assert mp.crystal.name == "NiAl"
    assert mp.crystal.cell[0] == 0.2887
    assert [s.debye_waller for s in mp.crystal.sites] == [0.005, 0.006]
    assert (mp.parameters.npx, mp.parameters.bethe) == (100, (8, 50, 100))
    assert mp.parameters.max_scatterings == 300
    assert (mp.monte_carlo.n_electrons, mp.monte_carlo.n_simulated) == (224_999, 225_000)
    assert mp.monte_carlo.backscatter_yield == pytest.approx(0.5179, abs=1e-4)
    assert mp.provenance["version"].startswith("5_0_4")
    si = read_monte_carlo(shared / "reference/emsoft/Si.h5")[1]
    assert (si.hall_number, si.n_atoms) == (526, 8)  # origin choice 2: not 16 atoms
    assert si.density == pytest.approx(2.329, abs=1e-3)


def test_our_copy_of_an_emsoft_file_has_emsofts_layout(shared, tmp_path):
    """Every dataset EMsoft wrote and its readers use is there: name, shape, type, string kind."""
    original = shared / "reference/emsoft/NiAl.h5"
    write_master_pattern(tmp_path / "copy.h5", read_master_pattern(original))
    # For EMsoft's own user interface, and texts of the namelist files, whose lengths are free.
    not_needed = {"EMData/MCOpenCL/accumSP", "NMLfiles/EBSDmasterNML", "NMLfiles/MCOpenCLNML"}
    free = ("Duration", "masterSP", "nthreads")
    with h5py.File(original) as theirs, h5py.File(tmp_path / "copy.h5") as ours:

        def same(name, item):
            if not isinstance(item, h5py.Dataset) or name in not_needed:
                return
            copy = ours[name]
            assert (copy.shape, copy.dtype) == (item.shape, item.dtype), name
            kind = h5py.check_string_dtype(item.dtype)
            assert h5py.check_string_dtype(copy.dtype) == kind, name
            if kind is None and not any(word in name for word in free):
                assert np.allclose(copy[()], item[()], rtol=1e-6), name

        theirs.visititems(same)
        for name in ("EMData/MCOpenCL", "EMData/EBSDmaster"):
            assert ours[name].attrs["HDF_FileVersion"] == theirs[name].attrs["HDF_FileVersion"]
        # The stereographic pictures, off the rim, where single precision decides what is inside.
        axis = np.arange(-100, 101) / 100
        inside = axis[:, None] ** 2 + axis**2 < 0.999
        path = "EMData/EBSDmaster/masterSPNH"
        assert np.abs(ours[path][()] - theirs[path][()])[:, inside].max() < 1e-4


def test_an_unfinished_file_is_refused_but_can_be_taken_up(tmp_path):
    write_master_pattern(tmp_path / "part.h5", example(), last_energy=2)
    with pytest.raises(MasterPatternFileError, match="2 lowest of 3 energies are missing"):
        read_master_pattern(tmp_path / "part.h5")
    mp, last = read_unfinished(tmp_path / "part.h5")
    assert last == 2
    assert np.array_equal(mp.north, example().north)


def test_what_readers_would_misunderstand_is_not_written(tmp_path):
    # Space group 15 with unique axis c.
    crystal = Crystal(
        "odd", (0.5, 0.6, 0.7, 90.0, 90.0, 100.0), 15, 96, (Site("Si", (0.1, 0.2, 0.3)),)
    )
    with pytest.raises(MasterPatternFileError, match="standardise"):
        write_master_pattern(tmp_path / "odd.h5", replace(example(), crystal=crystal, **one_site()))
    assert list(tmp_path.iterdir()) == []


def one_site() -> dict:
    mp = example()
    return {"north": mp.north[:1], "south": mp.south[:1]}


def test_a_failed_check_leaves_the_old_file(file):
    before = file.read_bytes()

    def refuse(path):
        assert path.exists()
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        write_master_pattern(file, example(), check=refuse)
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == ["mp.h5"]


def edit(name, value):
    def apply(path):
        with h5py.File(path, "r+") as f:
            old = f[name][()]
            del f[name]
            if value is not None:
                f[name] = value(old)

    return apply


def truncate(path):
    path.write_bytes(path.read_bytes()[:3000])


def with_nan(values):
    values[0, 0, 0, 0] = np.nan
    return values


M = "EMData/EBSDmaster"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.unlink(), "no such file"),
        (truncate, "broken or not HDF5"),
        (lambda p: p.write_text("hello"), "broken or not HDF5"),
        (edit(f"{M}/mLPNH", with_nan), "not finite"),
        (edit(f"{M}/mLPSH", lambda v: v[..., :-2, :-2]), "shape"),
        (edit(f"{M}/mLPNH", lambda v: np.repeat(v, 3, axis=0)), "shape"),
        (edit(f"{M}/lastEnergy", lambda v: np.array([-1])), "no energy is finished"),
        (edit(f"{M}/EkeVs", None), "EkeVs"),
        (edit("EMData/MCOpenCL/accum_e", None), "accum_e"),
        (edit("EMData/MCOpenCL/accum_e", lambda v: -1 - v), "negative counts"),
        (edit("EMData/MCOpenCL/accum_z", lambda v: v[:, :-1]), "accum_z"),
        (edit("ebsdsg/crystal", lambda v: ["{}"]), "missing"),
        (edit("ebsdsg/parameters", lambda v: ["[1"]), "broken"),
    ],
)
def test_damaged_files_give_one_clear_error(file, damage, message):
    damage(file)
    with pytest.raises(MasterPatternFileError, match=message) as caught:
        read_master_pattern(file)
    assert file.name in str(caught.value)


REFUSED = [
    PermissionError(errno.EACCES, "Permission denied"),
    OSError(errno.EAGAIN, "unable to lock file, errno = 11, error message = 'not now'"),
    KeyError("Unable to open object (file read failed: errno = 13, error message = 'no')"),
]


@pytest.mark.parametrize("error", REFUSED, ids=["open", "lock", "read"])
def test_a_file_that_the_system_refuses_is_not_called_broken(file, monkeypatch, error):
    def refuse(*args, **options):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(h5py, "File", refuse)
        with pytest.raises(FileRefusedError, match=rf"^\[Errno 1[13]\] .*{file.name}") as caught:
            read_master_pattern(file)
    assert caught.value.errno in (errno.EACCES, errno.EAGAIN)
    # for whom it is all the same
    assert isinstance(caught.value, MasterPatternFileError)
    read_master_pattern(file)


def test_what_is_no_file_is_no_refusal(file):
    assert refusal(FileNotFoundError(errno.ENOENT, "No such file or directory")) is None
    truncate(file)
    with pytest.raises(OSError) as caught:
        h5py.File(file)
    assert refusal(caught.value) is None
    with pytest.raises(OSError) as caught:
        h5py.File("/proc/self/mem")  # EIO from the disk itself
    assert refusal(caught.value) == errno.EIO


def test_a_damaged_emsoft_file_gives_one_clear_error(shared, tmp_path):
    path = tmp_path / "Ni.h5"
    shutil.copyfile(shared / "reference/emsoft/Ni.h5", path)
    path.chmod(0o644)
    with h5py.File(path, "r+") as f:
        f["CrystalData/Atomtypes"][...] = 200
    with pytest.raises(MasterPatternFileError, match=r"CrystalData.*200"):
        read_master_pattern(path)


@pytest.mark.parametrize(("number", "choice"), [(237, 1), (167, 2)])
def test_rhombohedral_axes_of_emsoft_are_the_same_crystal(tmp_path, number, choice):
    """EMsoft numbers them 231 to 237."""
    path, p = tmp_path / "corundum.h5", PARAMETERS
    write_monte_carlo(path, example().monte_carlo, CRYSTAL, p)
    a, c = CRYSTAL.cell[0], CRYSTAL.cell[2]
    edge = np.sqrt(3 * a**2 + c**2) / 3
    alpha = 2 * np.degrees(np.arcsin(a / 2 / edge))
    with h5py.File(path, "r+") as f:
        del f["ebsdsg"]  # as EMsoft leaves it
        group = f["CrystalData"]
        group["SpaceGroupNumber"][...], group["SpaceGroupSetting"][...] = number, choice
        group["LatticeParameters"][...] = [edge] * 3 + [alpha] * 3
        group["AtomData"][:3] = [[0.352, 0.5564], [0.352, -0.0564], [0.352, 0.25]]
    found = read_monte_carlo(path)[1]
    assert (found.space_group, found.hall_number) == (167, 461)
    assert found.multiplicities == (4, 6) and CRYSTAL.multiplicities == (12, 18)
    assert found.density == pytest.approx(CRYSTAL.density, rel=1e-6)
    bonds = []
    for crystal in (found, CRYSTAL):
        aluminium, oxygen = crystal.positions
        bonds.append(np.sort(distances(oxygen - aluminium[0], crystal.lattice))[:6])
    assert np.allclose(*bonds, atol=1e-5) and bonds[0].max() < 0.2


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("MCCLNameList/omega", 5.0, "omega = 5 degrees"),
        ("EBSDMasterNameList/latgridtype", b"Legendre", "latgridtype = 'Legendre'"),
    ],
)
def test_emsoft_files_that_would_be_misread_are_refused(shared, tmp_path, entry, value, message):
    copy = tmp_path / "Ni.h5"
    shutil.copyfile(shared / "reference/emsoft/Ni.h5", copy)
    with h5py.File(copy, "r+") as f:
        f["NMLparameters"][entry][...] = value
    with pytest.raises(MasterPatternFileError, match=message):
        read_master_pattern(copy)


def test_numbers_of_electrons_fit_emsofts_32_bits():
    assert nominal_electrons(1_000_000) == (1, 1_000_000)
    assert nominal_electrons(10**10) == (5, 2 * 10**9)
    with pytest.raises(MasterPatternFileError, match="round number"):
        nominal_electrons(2**61 - 1)


def test_json_in_the_file_is_plain_ascii(file):
    with h5py.File(file) as f:
        raw = f["ebsdsg/crystal"][0]
        assert raw.isascii()
        assert json.loads(raw)["name"] == CRYSTAL.name
        assert f["CrystalData/Source"][0].isascii()
