"""Vendors' files: equal patterns, stated geometry only, one clear error for a broken file."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from ebsdsg_ml.experimental.given import Given
from ebsdsg_ml.experimental.open_scan import open_scan, pattern_files
from ebsdsg_ml.experimental.read import read_patterns
from ebsdsg_ml.experimental.scan import PatternFileError, Scan
from ebsdsg_sim.detector import Detector
from ebsdsg_sim.orientation import euler_to_quaternion


@pytest.fixture(scope="module")
def nickel(shared: Path) -> Scan:
    return open_scan(shared / "data/patterns/kikuchipy_Ni/patterns.h5")


@pytest.fixture(scope="module")
def samples() -> Path:
    """Sample files that come with kikuchipy: the nine nickel patterns in vendors' formats."""
    found = importlib.util.find_spec("kikuchipy")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent / "data"


@pytest.mark.parametrize(
    "name",
    [
        "edax_binary/edax_binary.up1",
        "edax_binary/edax_binary.up2",
        "edax_h5ebsd/patterns.h5",
        "nordif/Pattern.dat",
        "oxford_binary/patterns.ebsp",
    ],
)
def test_every_format_gives_the_same_patterns(samples: Path, nickel: Scan, name: str) -> None:
    scan = open_scan(samples / name)
    # the ebsp file has them in another order, the up2 file one blank pattern more
    assert np.array_equal(scan.read(range(9)), nickel.read(range(9)))
    assert np.array_equal(scan.read([7, 2, 2]), nickel.read([7, 2, 2]))
    assert (scan.geometry.pc is None and scan.quaternions is None) or "edax_h5" in name


def test_nickel_says_all(nickel: Scan, shared: Path) -> None:
    assert nickel.shape == (9, 60, 60)
    assert (nickel.microscope.voltage, nickel.microscope.working_distance) == (20, 24.7)
    assert nickel.geometry.sample_tilt == 70
    assert nickel.phases[0].space_group == 225
    assert any("Scan 2" in remark for remark in nickel.remarks)
    with h5py.File(shared / "data/patterns/kikuchipy_Ni/patterns.h5") as file:
        header = file["Scan 1/EBSD/Header"]
        pc = np.stack([header[f"pc{c}"][()].ravel() for c in "xyz"], axis=1)
        angles = file["Scan 1/EBSD/CrystalMap/crystal_map/data"]
        euler = np.stack([angles[n][()] for n in ("phi1", "Phi", "phi2")], axis=1)
    assert np.allclose(nickel.geometry.pc, pc)
    assert np.allclose(nickel.quaternions, euler_to_quaternion(np.degrees(euler)))
    second = open_scan(nickel.path, "Scan 2")
    assert np.array_equal(second.read([4]), nickel.read([4])) and not second.remarks


def test_a_centre_that_was_not_measured_is_none(shared: Path, samples: Path) -> None:
    silicon = open_scan(shared / "data/patterns/kikuchipydata_Si/si_in.h5")
    assert silicon.geometry.pc is None and "-1" in " ".join(silicon.remarks)
    assert silicon.phases[0].name == "Ni"  # what the file says, wrongly
    assert silicon.static_background is not None
    assert open_scan(samples / "edax_h5ebsd/patterns.h5").geometry.pc is None  # zeros


def test_oxford_tag(shared: Path) -> None:
    scan = open_scan(shared / "data/patterns/krkaufma_Al/sample_ebsd.tiff")
    assert scan.shape == (1, 1024, 1244)
    assert (scan.microscope.voltage, scan.geometry.sample_tilt) == (20, 70)
    assert scan.microscope.working_distance == pytest.approx(19.565, abs=1e-3)
    assert scan.geometry.pixel_size == pytest.approx(18.38, abs=0.01)
    assert scan.geometry.tilt == pytest.approx(6.1857, abs=1e-3)
    # Oxford counts from the bottom and in widths: 0.54713 of 1244 pixels up from row 1024
    x, y, z = scan.geometry.pc[0]
    assert (x, y * 1024, z * 1024) == pytest.approx(
        (0.534545, 1024 - 0.547127 * 1244, 0.614260 * 1244), abs=1e-2
    )
    assert scan.geometry.detector((1024, 1244)).pc("oxford") == pytest.approx(
        (0.534545, 0.547127, 0.614260), abs=1e-6
    )


def text(value: str) -> np.ndarray:
    return np.array([value.encode()])


@pytest.fixture
def h5oina(tmp_path: Path, nickel: Scan) -> Path:
    """Small file in the layout of Oxford's published specification."""
    path = tmp_path / "scan.h5oina"
    patterns = nickel.read(range(9))
    with h5py.File(path, "w") as file:
        file["Manufacturer"], file["Format Version"] = text("Oxford Instruments"), text("5.0")
        data, header = (file.create_group(f"1/EBSD/{name}") for name in ("Data", "Header"))
        data["Processed Patterns"] = patterns
        data["Unprocessed Patterns"] = patterns // 2
        data["Pattern Center X"] = np.full(9, 0.51, np.float32)
        data["Pattern Center Y"] = np.full(9, 0.62, np.float32)
        data["Detector Distance"] = np.full(9, 0.55, np.float32)
        data["Euler"] = np.radians(np.tile([10, 20, 30.0], (9, 1)))
        data["Phase"] = np.array([1] * 4 + [2] * 4 + [0], np.uint8)
        data["Band Contrast"] = np.arange(9, dtype=np.uint8)
        header["Tilt Angle"] = np.radians([69.9])
        header["Detector Orientation Euler"] = np.radians([[0, 94, 0]])
        header["Beam Voltage"], header["Working Distance"] = [20.0], [12.5]
        header["Pattern Height"], header["Pattern Width"] = [60], [60]
        header["Phases/1/Phase Name"], header["Phases/1/Space Group"] = text("Ni"), [225]
        header["Phases/2/Phase Name"], header["Phases/2/Space Group"] = text("Fe"), [229]
    return path


def test_h5oina(h5oina: Path, nickel: Scan) -> None:
    scan = open_scan(h5oina)
    assert np.array_equal(scan.read([3]), nickel.read([3]) // 2) and scan.corrected is False
    assert scan.geometry.pc[0] == pytest.approx((0.51, 0.38, 0.55), abs=1e-6)
    assert scan.geometry.sample_tilt == pytest.approx(69.9, abs=1e-4)
    assert scan.geometry.tilt == pytest.approx(4, abs=1e-6)
    assert [p.space_group for p in scan.phases] == [225, 229]
    assert scan.phase.tolist() == [0] * 4 + [1] * 4 + [-1]
    assert np.allclose(scan.quaternions[0], euler_to_quaternion([10, 20, 30]))
    assert np.isnan(scan.quaternions[8]).all()  # not indexed
    assert scan.columns["band_contrast"].tolist() == list(range(9))
    with h5py.File(h5oina, "a") as file:
        del file["1/EBSD/Data/Unprocessed Patterns"]
    assert open_scan(h5oina).corrected is True


def test_bruker(tmp_path: Path, nickel: Scan) -> None:
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file["Manufacturer"], file["Version"] = text("Bruker Nano"), text("Esprit 2.X")
        data, header = (file.create_group(f"Scan/EBSD/{name}") for name in ("Data", "Header"))
        data["RawPatterns"] = nickel.read(range(9))
        for name, value in (("PCX", 0.42), ("PCY", 0.21), ("DD", 0.5), ("phi1", 90), ("phi2", 5)):
            data[name] = np.full(9, value, np.float32)
        data["PHI"], data["Phase"] = np.full(9, 40.0), np.ones(9, np.int32)
        data["PCX"][8], data["DD"][8] = 0, 0
        header["KV"], header["WD"], header["SampleTilt"] = 20.0, 17.0, 70.0
        header["CameraTilt"] = 9.5
        header["StaticBackground"] = nickel.static_background
        header["Phases/1/Name"], header["Phases/1/IT"] = text("Nickel"), 225
    scan = open_scan(path)
    assert np.array_equal(scan.read(range(9)), nickel.read(range(9)))
    assert scan.geometry.pc[0] == pytest.approx((0.42, 0.21, 0.5), abs=1e-6)
    assert np.isnan(scan.geometry.pc[8]).all() and "1 of 9" in " ".join(scan.remarks)
    assert (scan.geometry.tilt, scan.geometry.sample_tilt) == (9.5, 70)
    assert np.allclose(scan.quaternions, euler_to_quaternion([90, 40, 5]))
    assert scan.phases[0].space_group == 225 and scan.static_background is not None


def screen_of_kikuchipy(path: Path) -> np.ndarray:
    """(3, 3) rows right, down and normal of the screen as kikuchipy reads it, sample frame."""
    import kikuchipy

    right, up, normal = kikuchipy.load(path, lazy=True).detector.sample_to_detector.to_matrix()[0]
    return np.stack([right, -up, normal])


@pytest.mark.parametrize(("azimuthal", "twist"), [(6, 0), (0, 7), (6, -7)])
def test_the_screen_of_a_kikuchipy_file_is_turned_as_kikuchipys(
    tmp_path: Path, nickel: Scan, azimuthal: float, twist: float
) -> None:
    import kikuchipy

    path = tmp_path / "turned.h5"
    signal = kikuchipy.signals.EBSD(nickel.read(range(9)).reshape(3, 3, 60, 60))
    signal.detector = kikuchipy.detectors.EBSDDetector(
        (60, 60), pc=(0.4, 0.3, 0.55), tilt=5, azimuthal=azimuthal, twist=twist, sample_tilt=69
    )
    signal.save(path)
    axes = open_scan(path).geometry.detector((60, 60)).axes()
    assert np.allclose(axes.T, screen_of_kikuchipy(path))


@pytest.mark.parametrize("name", ["edax_h5ebsd/patterns.h5", "nordif/Pattern.dat"])
def test_azimuths_of_vendors_are_read_as_kikuchipy_reads_them(
    tmp_path: Path, samples: Path, name: str
) -> None:
    shutil.copytree((samples / name).parent, tmp_path / "scan")
    path = tmp_path / "scan" / Path(name).name
    if path.suffix == ".dat":
        beside = path.with_name("Setting.txt")
        settings = beside.read_text(encoding="latin-1")
        turned = settings.replace("Azimuthal\t0", "Azimuthal\t6")
        assert turned != settings
        beside.write_text(turned, encoding="latin-1")
    else:
        with h5py.File(path, "a") as file:
            (scan,) = (group for group in file.values() if isinstance(group, h5py.Group))
            scan["EBSD/Header/Camera Azimuthal Angle"][...] = 6.0
    geometry = open_scan(path).geometry
    detector = Detector(
        (60, 60),
        70.0,
        15_000.0,
        tilt=geometry.tilt,
        azimuth=geometry.azimuth,
        sample_tilt=geometry.sample_tilt,
    )
    assert abs(detector.axes()[1, 2]) > 0.09  # 6 degrees out of the plane of incidence
    assert np.allclose(detector.axes().T, screen_of_kikuchipy(path))


def kikuchipy_file(path: Path, ids: list[int], **phases: Any) -> Any:
    """Signal of 3 x 4 patterns with a crystal map, stored; phases by name and group."""
    import kikuchipy
    from orix.crystal_map import CrystalMap, PhaseList
    from orix.quaternion import Rotation

    rng = np.random.default_rng(0)
    signal = kikuchipy.signals.EBSD(rng.integers(0, 255, (3, 4, 40, 60)).astype("uint8"))
    y, x = np.indices((3, 4)).reshape(2, -1)
    signal.xmap = CrystalMap(
        rotations=Rotation.random((12, 2)),
        phase_id=np.array(ids),
        x=x * 1.0,
        y=y * 1.0,
        phase_list=PhaseList(names=list(phases), space_groups=list(phases.values())),
    )
    signal.save(path)
    return signal


@pytest.mark.parametrize(
    "cut",
    [
        (slice(0, 2), slice(0, 3)),
        (slice(None), slice(1, 2)),
        (slice(1, 3), slice(1, 3)),
        (slice(2, 3), slice(1, 2)),
    ],
)
def test_a_crop_by_kikuchipy_keeps_its_orientations(tmp_path: Path, cut: tuple[Any, Any]) -> None:
    """The file of a crop holds the map of the whole scan: 6, 3, 4 and 1 of 12 points."""
    import kikuchipy

    ids = [0, 1, 1, 0, 1, 0, 0, 1, 0, 0, 1, 1]
    signal = kikuchipy_file(tmp_path / "whole.h5", ids, ferrite=229, austenite=225)
    signal.inav[cut].save(tmp_path / "crop.h5")
    stored = kikuchipy.load(tmp_path / "crop.h5").xmap
    scan = open_scan(tmp_path / "crop.h5")
    best = stored.rotations.data.reshape(len(scan), 2, 4)[:, 0]
    dot = (scan.quaternions * best).sum(axis=1)
    assert np.abs(dot) == pytest.approx(1)
    assert scan.phase.tolist() == stored.phase_id.tolist() and not scan.remarks
    with h5py.File(tmp_path / "crop.h5", "a") as file:
        file["Scan 1/EBSD/CrystalMap/crystal_map/data/is_in_data"][...] = True
    scan = open_scan(tmp_path / "crop.h5")
    assert scan.quaternions is None and set(scan.phase.tolist()) == {-1}
    assert f"12 points for {len(scan)} patterns" in " ".join(scan.remarks)


def test_what_kikuchipy_did_not_index_has_no_phase_and_no_orientation(tmp_path: Path) -> None:
    import kikuchipy

    ids = [0, 1, -1, 0, 1, 0, 0, 1, 0, 0, 1, -1]
    # text is UTF-8, of which orix cuts the end: nine bytes for eight letters
    kikuchipy_file(tmp_path / "map.h5", ids, **{"Gefüge α": 229, "β": 225})
    scan = open_scan(tmp_path / "map.h5")
    assert [p.name for p in scan.phases] == ["Gefüge", "β"]
    assert scan.phase.tolist() == ids
    assert np.isnan(scan.quaternions).any(axis=1).tolist() == [k < 0 for k in ids]
    plain = kikuchipy.signals.EBSD(np.tile(np.arange(60, dtype="uint8"), (2, 3, 40, 1)))
    plain.save(tmp_path / "plain.h5")  # with a map of identities of a nameless phase
    scan = open_scan(tmp_path / "plain.h5")
    assert scan.phases == () and scan.quaternions is None and not scan.frame
    assert not any("orientations" in remark for remark in scan.remarks)


def test_orientations_of_a_nameless_phase_are_kept_for_the_phase_that_is_given(
    tmp_path: Path,
) -> None:
    import kikuchipy

    path = tmp_path / "map.h5"
    ids = [0, 0, -1, *[0] * 9]
    kikuchipy_file(path, ids, nickel=225)
    phase = "Scan 1/EBSD/CrystalMap/crystal_map/header/phases/0"
    with h5py.File(path, "a") as file:  # as orix writes a phase that is called nothing
        for name, value in (("name", b""), ("space_group", b"None")):
            del file[f"{phase}/{name}"]
            file[f"{phase}/{name}"] = np.array([value])
    scan = open_scan(path)
    assert scan.phases == () and set(scan.phase.tolist()) == {-1}
    indexed = np.array(ids) >= 0
    assert (np.isfinite(scan.quaternions).all(axis=1) == indexed).all()
    rotations = kikuchipy.load(path).xmap.rotations.data.reshape(12, 2, 4)[:, 0]
    dot = (scan.quaternions * rotations).sum(axis=1)
    assert np.abs(dot[indexed]) == pytest.approx(1)
    assert "the crystal map names no phase of its orientations" in scan.remarks
    held = read_patterns(path, given=Given("Ni", 225))
    assert held.phase_names() == ["Ni"] * 12
    assert np.isfinite(held.quaternions).all(axis=1).tolist() == indexed.tolist()
    with h5py.File(path, "a") as file:
        data = file["Scan 1/EBSD/CrystalMap/crystal_map/data"]
        data["phase_id"][...] = -1  # nothing was indexed
    assert open_scan(path).quaternions is None


def test_text_of_older_programs_is_read(h5oina: Path) -> None:
    name = "1/EBSD/Header/Phases/1/Phase Name"
    for written in ("Ferrit grün".encode("latin-1"), "Ferrit grün".encode()):
        with h5py.File(h5oina, "a") as file:
            del file[name]
            file[name] = np.array([written])
        assert open_scan(h5oina).phases[0].name == "Ferrit grün"


REAL = [
    "kikuchipy_Ni/patterns.h5",
    "kikuchipy_Ni/calibration_294_532.bmp",
    "kikuchipydata_Si/si_in.h5",
    "krkaufma_Al/sample_ebsd.tiff",
    "openxy_ferrite/patterns/steel_x000y000.jpg",
]
SAMPLES = [
    "edax_binary/edax_binary.up1",
    "oxford_binary/patterns.ebsp",
    "nordif/Pattern.dat",
    "edax_h5ebsd/patterns.h5",
]


@pytest.mark.parametrize("share", [0.0, 0.0005, 0.5, 0.97, 0.998])
@pytest.mark.parametrize("name", [*REAL, *SAMPLES])
def test_truncated_files_give_one_clear_error(
    shared: Path, samples: Path, tmp_path: Path, name: str, share: float
) -> None:
    whole = shared / "data/patterns" / name if name in REAL else samples / name
    if whole.name == "Pattern.dat":
        shutil.copy(whole.with_name("Setting.txt"), tmp_path)
    broken = tmp_path / whole.name
    content = whole.read_bytes()
    broken.write_bytes(content[: int(share * len(content))])
    with pytest.raises(PatternFileError) as caught:
        open_scan(broken)
    message = str(caught.value)
    assert broken.name in message and len(message) < 400
    assert any(word in message for word in ("truncated", "damaged", "empty", "readable", "not an"))


def test_wrong_names_and_contents_are_refused(
    shared: Path, tmp_path: Path, h5oina: Path, samples: Path
) -> None:
    patterns = shared / "data/patterns"
    cases: dict[str, tuple[str | bytes | Path, str]] = {
        "image.h5": (patterns / REAL[1], "is called .h5 but is not an HDF5 file"),
        "text.png": ("no image", "is not a readable image"),
        "text.up1": ("hello, this is text and no pattern at all", "is it one"),
        "noise.up2": (np.array([1, 60, 60, 16, 7], "<u4").tobytes(), "truncated"),
        "text.ebsp": ("hello, this is text and no pattern at all", "no ebsp file"),
        "Pattern.dat": (samples / "nordif/Pattern.dat", "Setting.txt"),
        "notes.txt": ("notes", "is not one of"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / name
        if isinstance(content, Path):
            shutil.copy(content, path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        with pytest.raises(PatternFileError, match=message):
            open_scan(path)
    # an HDF5 file is read whatever it is called
    shutil.copy(patterns / REAL[0], tmp_path / "patterns.jpg")
    assert len(open_scan(tmp_path / "patterns.jpg")) == 9
    with pytest.raises(PatternFileError, match="it has 'Scan 1', 'Scan 2'"):
        open_scan(patterns / REAL[0], "Scan 3")
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = 1
    with pytest.raises(PatternFileError, match="without a manufacturer"):
        open_scan(other)
    with h5py.File(h5oina, "a") as file:
        file["1/EBSD/Header/Pattern Width"][0] = 80
    with pytest.raises(PatternFileError, match="header says width 80"):
        open_scan(h5oina)
    with h5py.File(h5oina, "a") as file:
        file["1/EBSD/Header/Pattern Width"][0] = 60
        del file["1/EBSD/Data/Euler"]
        file["1/EBSD/Data/Euler"] = np.zeros((4, 3))
        del file["1/EBSD/Data/Detector Distance"]
        file["1/EBSD/Data/Detector Distance"] = np.ones(4)
    with pytest.raises(PatternFileError, match="damaged"):
        open_scan(h5oina)


def test_damaged_oxford_tag_is_named(shared: Path, tmp_path: Path) -> None:
    image = Image.new("L", (32, 32))
    image.putdata(list(range(256)) * 4)
    for xml, message in (
        ("<oina-image>", "tag 51122 is damaged"),
        ("<a><sem-acc-voltage-kv>many</sem-acc-voltage-kv></a>", "sem-acc-voltage-kv = 'many'"),
    ):
        image.save(tmp_path / "p.tiff", tiffinfo={51122: xml})
        with pytest.raises(PatternFileError, match=message):
            open_scan(tmp_path / "p.tiff")


def test_folders(shared: Path, tmp_path: Path) -> None:
    names = [p.name for p in pattern_files([shared / "data/patterns/kikuchipy_Ni"])]
    assert names == ["calibration_294_532.bmp", "calibration_425_447.bmp", "patterns.h5"]
    with pytest.raises(PatternFileError, match="no pattern in"):
        pattern_files([tmp_path])
    with pytest.raises(PatternFileError, match="does not exist"):
        pattern_files([tmp_path / "none"])
    with pytest.raises(PatternFileError, match="given twice"):
        pattern_files([shared / "data/patterns" / REAL[1]] * 2)
    many = [tmp_path / f"{i:04}.png" for i in range(2000)]
    for path in many:
        path.touch()
    with pytest.raises(PatternFileError, match=r"0004\.png and 1995 more$") as caught:
        pattern_files([*many, *many])
    assert len(str(caught.value)) < 1000


def test_white_may_be_zero(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 60000, (40, 50)).astype(np.uint16)
    for name, values in (("16", grey), ("8", (grey >> 8).astype(np.uint8))):
        Image.fromarray(values).save(tmp_path / f"black{name}.tif")
        whole = np.iinfo(values.dtype).max
        # Pillow inverts 8 bits itself when it writes
        stored = values if name == "8" else whole - values
        Image.fromarray(stored).save(tmp_path / f"white{name}.tif", tiffinfo={262: 0})
        read = [open_scan(tmp_path / f"{z}{name}.tif").read([0]) for z in ("black", "white")]
        assert np.array_equal(*read) and read[0].max() == values.max()
    Image.fromarray(grey.astype(np.float32)).save(tmp_path / "f.tif", tiffinfo={262: 0})
    with pytest.raises(PatternFileError, match="white is zero in 32 bits"):
        open_scan(tmp_path / "f.tif")
