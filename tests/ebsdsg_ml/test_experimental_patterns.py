"""Experimental patterns: what processing does, what is kept, who is believed, what is chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from ebsdsg_ml.adaptation.run import read_target
from ebsdsg_ml.experimental.choice import best_by_quality
from ebsdsg_ml.experimental.given import Given
from ebsdsg_ml.experimental.open_scan import open_scan
from ebsdsg_ml.experimental.pattern_set import read_pattern_set, write_selection
from ebsdsg_ml.experimental.processing import PatternProcessing
from ebsdsg_ml.experimental.read import import_patterns, read_patterns
from ebsdsg_ml.experimental.scan import Geometry, PatternFileError
from ebsdsg_ml.experimental.sheet import pattern_page, pattern_sheet
from ebsdsg_ml.imperfections import CircularMask, DynamicCorrection, StaticCorrection
from ebsdsg_ml.quality import QualityDefinition, QualityError, image_quality
from ebsdsg_ml.recipe import DatasetRecipe
from ebsdsg_sim.comparison import normalised_cross_correlation
from ebsdsg_sim.detector import Detector
from ebsdsg_sim.hdf5 import read_master_pattern
from ebsdsg_sim.projection import Projector

SMALL = PatternProcessing(60)


@pytest.fixture(scope="module")
def patterns(shared: Path) -> Path:
    return shared / "data/patterns"


def test_nickel_agrees_with_its_simulation_after_import(shared: Path, patterns: Path) -> None:
    """Processing, pattern centre of the stored square, and orientation, all at once."""
    held = read_patterns(patterns / "kikuchipy_Ni/patterns.h5", processing=SMALL)
    assert held.patterns.shape == (9, 60, 60) and (held.label == 225).all()
    nickel = read_master_pattern(shared / "reference/emsoft/Ni.h5")
    correction = DynamicCorrection()
    with h5py.File(patterns / "kikuchipy_Ni/patterns.h5") as file:
        published = file["Scan 1/EBSD/CrystalMap/crystal_map/data/scores"][()]
    y, x = np.mgrid[:60, :60] - 29.5
    circle = np.hypot(x, y) <= 30
    for row in range(9):
        detector = Geometry(pc=held.pc, sample_tilt=70.0).detector((60, 60), row)
        projector = Projector(nickel, detector, background=False, solid_angle="physical")
        simulated = correction(projector.patterns(held.quaternions[row : row + 1]))[0].numpy()
        seen = held.patterns[row].astype(float)
        found = normalised_cross_correlation(seen[circle], simulated[circle])
        mirrored = normalised_cross_correlation(seen[:, ::-1][circle], simulated[circle])
        assert found == pytest.approx(published[row], abs=0.03)
        assert abs(mirrored) < 0.1


def test_a_crop_does_not_move_the_pattern_centre(patterns: Path) -> None:
    scan = open_scan(patterns / "krkaufma_Al/sample_ebsd.tiff")
    whole = scan.geometry.detector((1024, 1244)).directions()[:, 110 : 110 + 1024]
    held = read_patterns(scan.path, processing=PatternProcessing(64))
    square = Detector.from_pattern_centre(
        held.pc[0], "bruker", (1024, 1024), tilt=scan.geometry.tilt
    )
    assert np.allclose(square.directions(), whole, atol=1e-9)
    assert held.processing["size"] == 64 and held.sources[0]["shape"] == [1024, 1244]


def test_steps_are_the_training_sets(patterns: Path) -> None:
    scan = open_scan(patterns / "kikuchipy_Ni/patterns.h5")
    raw = torch.from_numpy(scan.read(range(9)).astype(np.float32))
    flat = torch.from_numpy(scan.static_background.astype(np.float32))[None]
    plain = PatternProcessing(60)
    by_hand = plain.quantisation(
        DynamicCorrection()(StaticCorrection("subtract")(raw, flat))
    ).numpy()
    assert np.array_equal(plain(raw.numpy(), scan.static_background)[0], by_hand)
    # what the microscope has corrected is not corrected again
    once = plain.quantisation(DynamicCorrection()(raw)).numpy()
    assert np.array_equal(plain(raw.numpy(), scan.static_background, corrected=True)[0], once)
    masked = PatternProcessing(60, mask=CircularMask(0.4))(raw.numpy())[0]
    assert (masked[:, 0, 0] == 0).all() and (masked[:, 30, 30] > 0).any()
    # the corrections remove the gradient of the background
    left = PatternProcessing(60, None, None)(raw.numpy())[0].mean(axis=(0, 2))
    assert np.ptp(by_hand.mean(axis=(0, 2))) < 0.5 * np.ptp(left)


def test_processing_as_a_recipe_says() -> None:
    recipe = DatasetRecipe(
        size=128, imperfections={"static": True, "dynamic": {"sigma": 0.1}, "mask": True}
    )
    like = PatternProcessing.like(recipe)
    assert like.size == 128 and like.dynamic == DynamicCorrection(sigma=0.1)
    assert like.static == StaticCorrection() and like.mask == CircularMask()
    assert PatternProcessing.from_dict(like.to_dict()) == like
    plain = PatternProcessing.like(DatasetRecipe())
    assert plain.static is None and plain.dynamic is None and plain.size == 229
    with pytest.raises(PatternFileError, match="blurr unknown; known: size"):
        PatternProcessing.from_dict({"blurr": True})
    with pytest.raises(PatternFileError, match=r"dynamic\.sigma = 9"):
        PatternProcessing.from_dict({"dynamic": {"sigma": 9}})


def test_a_users_word_wins_and_both_are_kept(patterns: Path) -> None:
    silicon = patterns / "kikuchipydata_Si/si_in.h5"
    alone = read_patterns(silicon, processing=SMALL)
    assert alone.phase_names() == ["Ni"] and alone.label.tolist() == [0]
    given = Given(
        "Si",
        227,
        {"pc": [0.5, 0.8, 0.6], "convention": "edax", "voltage": 15, "tilt": 3},
        "somebody",
        "CC-BY 4.0",
    )
    held = read_patterns(silicon, processing=SMALL, given=given)
    assert held.phase_names() == ["Si"] and held.label.tolist() == [227]
    assert held.phases[0]["in_file"] == {"name": "Ni", "space_group": None}
    assert held.pc[0] == pytest.approx((0.5, 0.2, 0.6))
    source = held.sources[0]
    assert source["microscope"]["voltage"] == 15 and source["geometry"]["tilt"] == 3
    assert (source["source"], source["licence"]) == ("somebody", "CC-BY 4.0")
    assert len(source["sha256"]) == 64
    # the group of the file's phase is not carried over to another phase
    nickel = read_patterns(
        patterns / "kikuchipy_Ni/patterns.h5", processing=SMALL, given=Given("Cu")
    )
    assert (nickel.label == 0).all() and set(nickel.phase_names()) == {"Cu"}


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        ({"pc": [0.5, 0.5, 0.5]}, "belong together"),
        ({"pc": [0.5, 0.5, -1], "convention": "tsl"}, "distance must be positive"),
        ({"pc": [0.5, 0.5], "convention": "tsl"}, "three finite numbers"),
        ({"pc": [0.5, 0.5, 0.5], "convention": "hkl"}, "must be one of"),
        ({"pc": [0.5, 0.5, 15000], "convention": "emsoft5"}, "size of a pixel is needed"),
        ({"tilt": "steep"}, "tilt = 'steep'"),
        ({"voltage": -20}, "must be positive"),
        ({"distance": 3}, "distance unknown; known"),
    ],
)
def test_wrong_geometry_is_refused(geometry: dict, message: str) -> None:
    with pytest.raises(PatternFileError, match=message):
        Given(geometry=geometry)


@pytest.mark.parametrize("dynamic", [None, DynamicCorrection(), DynamicCorrection("divide")])
@pytest.mark.parametrize("operation", ["subtract", "divide"])
def test_a_pattern_that_is_its_background_shows_nothing(
    operation: str, dynamic: DynamicCorrection | None
) -> None:
    rng = np.random.default_rng(0)
    background = rng.integers(20, 230, (60, 70)).astype(np.uint8)
    shown = background.copy()
    shown[20:30, 20:40] += 3
    processing = PatternProcessing(48, static=StaticCorrection(operation), dynamic=dynamic)
    raw = np.stack([background, background * np.float32(0.83), shown])
    levels, shows = processing(raw, background)
    assert shows.tolist() == [False, False, True] and not levels[:2].any()
    # nor does one with signs of life in the dark corners only
    corners = np.full((1, 60, 60), 50, np.uint8)
    corners[0, :8, :8] = rng.integers(0, 255, (8, 8))
    assert not PatternProcessing(48, dynamic=dynamic, round_screen=True)(corners)[1].any()


@pytest.mark.parametrize("operation", ["subtract", "divide"])
def test_a_round_screen_keeps_its_bands_with_a_recorded_background(operation: str) -> None:
    from scipy.ndimage import gaussian_filter

    bands = gaussian_filter(np.random.default_rng(0).normal(size=(120, 120)), 3)
    bands /= np.abs(bands).max()
    radius = np.hypot(*(np.indices((120, 120)) - 59.5))
    light = np.exp(-(radius**2) / 5000)
    background = (200 * light * (radius <= 60)).astype(np.float32)
    pattern = background * (1 + 0.15 * bands).astype(np.float32)
    processing = PatternProcessing(120, static=StaticCorrection(operation), round_screen=True)
    both = np.stack([pattern, background, np.float32(0.7) * background])
    levels, shows = processing(both, background)
    assert shows.tolist() == [True, False, False]
    circle = radius < 50
    truth = bands * light if operation == "subtract" else bands
    assert np.corrcoef(levels[0][circle], truth[circle])[0, 1] > 0.95


def test_columns_of_a_table_have_names_that_a_file_can_hold(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "p.png")
    table = tmp_path / "t.csv"
    table.write_text("file,IQ/max,Fit,,note\np.png,3,0.5,,good\n")
    import_patterns([tmp_path / "p.png"], tmp_path / "set.h5", given=Given(table=table))
    extra = read_pattern_set(tmp_path / "set.h5").extra
    assert {k: v.tolist() for k, v in extra.items()} == {"iq_max": [3], "fit": [0.5]}
    for head, message in (
        ("file,IQ,iq,x,y", "columns IQ, iq: two are called the same"),
        ("file,IQ,x,IQ,y", "columns IQ: two are called the same"),
        ("file,a/b,x,a_b,y", "columns a/b, a_b: two"),
        ("file,,x,y,z", "a column of numbers has no name"),
        ("file,,x,,y", "a column of numbers has no name"),
        ("file,file,x,y,z", "columns file: two are called the same"),
    ):
        table.write_text(f"{head}\np.png,1,2,3,4\n")
        with pytest.raises(PatternFileError, match=message):
            read_patterns([tmp_path / "p.png"], given=Given(table=table))


def test_columns_that_are_not_taken_need_no_name(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "p.png")
    given = Given(table=tmp_path / "t.csv")
    # as a spreadsheet writes what was cleared, and two notes
    given.table.write_text(
        "file,phi1_deg,PHI_deg,phi2_deg,x,note,note,,\np.png,10,20,30,1.5,good,old,,\n\n"
    )
    held = read_patterns([tmp_path / "p.png"], given=given)
    assert {k: v.tolist() for k, v in held.extra.items()} == {"x": [1.5]}
    assert np.isfinite(held.quaternions).all()
    # of two columns of one name the one with numbers is not silently lost
    given.table.write_text("file,iq,iq\np.png,10,good\n")
    with pytest.raises(PatternFileError, match="columns iq: two are called the same"):
        read_patterns([tmp_path / "p.png"], given=given)
    given.table.write_text("file,x\np.png\n")
    with pytest.raises(PatternFileError, match="line 2: not 2 values"):
        read_patterns([tmp_path / "p.png"], given=given)


def test_lines_of_a_table_are_of_images_in_their_folders(tmp_path: Path) -> None:
    images = [tmp_path / folder / "p.png" for folder in "ab"]
    rng = np.random.default_rng(0)
    for image in images:
        image.parent.mkdir()
        Image.fromarray(rng.integers(0, 255, (40, 40), dtype=np.uint8)).save(image)
    given = Given(table=tmp_path / "t.csv")
    head = "file,iq,phi1_deg,PHI_deg,phi2_deg\n"
    given.table.write_text(f"{head}a/p.png,1,10,20,30\nb/p.png,2,11,20,30\n")
    held = read_patterns(images, given=given)
    assert held.extra["iq"].tolist() == [1, 2]
    assert len(np.unique(held.quaternions[:, 0])) == 2
    given.table.write_text(f"{head}p.png,1,10,20,30\n")
    with pytest.raises(PatternFileError, match="name them with their folders"):
        read_patterns(images, given=given)
    # relative to the table, and where the image once lay
    away = replace(given, table=tmp_path / "tables/t.csv")
    away.table.parent.mkdir()
    away.table.write_text(f"{head}../b/p.png,2,10,20,30\n/mnt/disk/p.png,1,11,20,30\n")
    held = read_patterns(images[1], given=away)
    assert held.extra["iq"].tolist() == [2]
    assert not any("p.png" in remark for remark in held.sources[0]["remarks"])
    away.table.write_text(f"{head}/mnt/disk/p.png,1,11,20,30\n")
    held = read_patterns(images[1], given=away)
    assert held.extra["iq"].tolist() == [1]
    taken = "the line of /mnt/disk/p.png in t.csv was taken for its file name"
    assert taken in held.sources[0]["remarks"]
    # of two images of the name it may be either's, and a line of one that is there is not both's
    held = read_patterns(images, given=away)
    assert "iq" not in held.extra and np.isnan(held.quaternions).all()
    for source in held.sources:
        assert "the table has it in /mnt/disk" in " ".join(source["remarks"])
    given.table.write_text(f"{head}b/p.png,2,10,20,30\n")
    for asked in (images, images[::-1]):
        has = read_patterns(asked, given=given).extra["iq"]
        assert [2 if image == images[1] else None for image in asked] == [
            None if np.isnan(value) else value for value in has
        ]
    assert "iq" not in read_patterns(images[0], given=given).extra
    given.table.write_text(f"{head}./p.png,1,10,20,30\np.png,2,10,20,30\n")
    with pytest.raises(PatternFileError, match=r"line 3: p\.png is there twice"):
        read_patterns(images, given=given)


def test_ferrite_with_its_scan(patterns: Path, tmp_path: Path) -> None:
    """Quality ranks as the vendor's does; orientations come from the table."""
    from scipy.stats import spearmanr

    folder = patterns / "openxy_ferrite"
    some = sorted((folder / "patterns").glob("*.jpg"))[::4]
    given = Given("ferrite", 229, table=folder / "scan_rows.csv")
    held = read_patterns(some, given=given)
    assert len(held) == 30 and np.isfinite(held.quaternions).all()
    assert spearmanr(held.quality, held.extra["iq"])[0] > 0.9
    (tmp_path / "t.csv").write_text("name,phi1_rad\nx,1\n")
    with pytest.raises(PatternFileError, match="column file"):
        read_patterns(some[0], given=Given(table=tmp_path / "t.csv"))


def test_file_round_trip_selection_and_target(patterns: Path, tmp_path: Path) -> None:
    files = [patterns / "kikuchipy_Ni", patterns / "kikuchipydata_Si/si_in.h5"]
    memory = read_patterns(files, processing=SMALL, quality_mask=0.5)
    written = import_patterns(files, tmp_path / "set.h5", processing=SMALL, quality_mask=0.5)
    stored = read_pattern_set(tmp_path / "set.h5", verify=True)
    assert stored.content_sha256() == memory.content_sha256()
    assert len(written.patterns) == 0 and np.array_equal(stored.patterns, memory.patterns)
    assert stored.quality_definition["mask"] == 0.5
    assert np.array_equal(read_patterns(tmp_path / "set.h5").patterns, memory.patterns)
    with pytest.raises(PatternFileError, match="import the original files again"):
        read_patterns(tmp_path / "set.h5", processing=PatternProcessing(64))

    rows = best_by_quality(stored.quality, 4)
    write_selection(tmp_path / "set.h5", tmp_path / "best.h5", rows, {"best": 4})
    best = read_pattern_set(tmp_path / "best.h5", verify=True)
    assert np.array_equal(best.patterns, stored.patterns[rows])
    assert best.quality.min() >= np.delete(stored.quality, rows).max()
    assert best.names() == [stored.names()[i] for i in rows]

    # adaptation reads it; only a set that is labelled throughout has known classes
    target = read_target(tmp_path / "set.h5", (225, 227), "true", SMALL)
    assert target.labels is None and np.array_equal(target.patterns, stored.patterns)
    known = import_patterns(files[0] / "patterns.h5", tmp_path / "ni.h5", processing=SMALL)
    labels = read_target(tmp_path / "ni.h5", (221, 225), "true", SMALL).labels
    assert labels.tolist() == [1] * len(known)

    sheet = pattern_sheet(tmp_path / "set.h5", count=6, columns=3, pixels=60)
    assert sheet.width == 3 * 66 + 6
    page = pattern_page(tmp_path / "set.h5")
    assert "Fm-3m (225)" in page and "data:image/png" in page


def test_broken_sets_are_refused(patterns: Path, tmp_path: Path) -> None:
    path = tmp_path / "set.h5"
    import_patterns(patterns / "kikuchipy_Ni/patterns.h5", path, processing=SMALL)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(PatternFileError, match="truncated or damaged"):
        read_pattern_set(path)
    path.write_bytes(content)
    with h5py.File(path, "a") as file:
        file["label"][0] = 221
    with pytest.raises(PatternFileError, match="was changed"):
        read_pattern_set(path, verify=True)
    with pytest.raises(PatternFileError, match="not a set of experimental"):
        read_pattern_set(patterns / "kikuchipy_Ni/patterns.h5")


def test_nothing_is_left_of_a_failed_import(patterns: Path, tmp_path: Path) -> None:
    broken = tmp_path / "in/b.jpg"
    broken.parent.mkdir()
    whole = next((patterns / "openxy_ferrite/patterns").iterdir())
    (tmp_path / "in/a.jpg").write_bytes(whole.read_bytes())
    broken.write_bytes(whole.read_bytes()[:5000])
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(PatternFileError, match=r"b\.jpg is not a readable image"):
        import_patterns(tmp_path / "in", out / "set.h5", processing=SMALL)
    assert not list(out.iterdir())
    # a scan whose data are damaged behind a good header fails while it is read
    damaged = tmp_path / "damaged.h5"
    content = bytearray((patterns / "kikuchipy_Ni/patterns.h5").read_bytes())
    with h5py.File(patterns / "kikuchipy_Ni/patterns.h5") as file:
        stored = file["Scan 1/EBSD/Data/patterns"]
        chunk = stored.id.get_chunk_info(0) if stored.chunks and stored.compression else None
    if chunk is not None:
        content[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"\0" * chunk.size
        damaged.write_bytes(bytes(content))
        with pytest.raises(PatternFileError, match="cannot be read beyond pattern 0"):
            import_patterns(damaged, out / "set.h5", processing=SMALL)
        assert not list(out.iterdir())


def test_blank_patterns_are_left_out_and_counted(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    values = generator.integers(0, 255, (3, 32, 32)).astype(np.uint8)
    values[1] = 7
    head = np.array([1, 32, 32, 16], "<u4").tobytes()
    (tmp_path / "p.up1").write_bytes(head + values.tobytes())
    held = read_patterns(tmp_path / "p.up1", processing=PatternProcessing(32))
    assert held.number.tolist() == [0, 2]
    assert any("1 blank" in remark for remark in held.sources[0]["remarks"])
    (tmp_path / "b.up1").write_bytes(head + (values * 0).tobytes())
    with pytest.raises(PatternFileError, match="are blank"):
        read_patterns(tmp_path / "b.up1", processing=PatternProcessing(32))


def test_given_background(patterns: Path, tmp_path: Path) -> None:
    scan = open_scan(patterns / "kikuchipy_Ni/patterns.h5")
    Image.fromarray(scan.static_background).save(tmp_path / "flat.png")
    head = np.array([1, 60, 60, 16], "<u4").tobytes()
    (tmp_path / "p.up1").write_bytes(head + scan.read(range(9)).tobytes())
    held = read_patterns(
        tmp_path / "p.up1", processing=SMALL, given=Given(background=tmp_path / "flat.png")
    )
    assert np.array_equal(held.patterns, read_patterns(scan.path, processing=SMALL).patterns)
    assert held.sources[0]["static_correction_made"]
    with pytest.raises(PatternFileError, match="60 x 60 pixels, the patterns of"):
        read_patterns(
            patterns / "openxy_ferrite/patterns/steel_x000y000.jpg",
            given=Given(background=tmp_path / "flat.png"),
        )


def test_best_by_quality_is_deterministic() -> None:
    quality = [0.5, 0.9, np.nan, 0.9, 0.1, 0.9]
    assert best_by_quality(quality, 2).tolist() == [1, 3]
    assert best_by_quality(quality, 99).tolist() == [0, 1, 3, 4, 5]
    assert best_by_quality(quality, 1, ["a", "a", "b", "b", "c", "c"]).tolist() == [1, 3, 5]
    assert best_by_quality(quality, 1, ["a", "a", "b", "a", "c", "c"]).tolist() == [1, 5]
    with pytest.raises(PatternFileError, match="all are blank"):
        best_by_quality([np.nan], 1)
    with pytest.raises(PatternFileError, match="at least one"):
        best_by_quality(quality, 0)


def test_quality_of_a_circle_ignores_the_corners() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(2, 64, 64, generator=generator)
    y = x.clone()
    y[:, :8, :8] = 50
    definition = QualityDefinition(64, mask=0.45)
    assert torch.allclose(definition.measure(x, batch=1), definition.measure(y))
    assert not torch.allclose(image_quality(x), image_quality(y), atol=1e-3)
    with pytest.raises(QualityError, match="expected"):
        definition.measure(torch.zeros(1, 32, 32))
    with pytest.raises(QualityError, match=r"mask = 3"):
        image_quality(x, mask=3)
