"""Crystals, master and projected patterns in a notebook: pictures, units, nothing unsafe."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ebsdsg_sim.card import PIXELS, Raw, card, picture, table
from ebsdsg_sim.detector import Detector
from ebsdsg_sim.hdf5 import read_master_pattern
from ebsdsg_sim.orientation import OrientationError, random_rotations
from ebsdsg_sim.preview import grey
from ebsdsg_sim.projected import project
from ebsdsg_sim.projection import ProjectionError, Projector, to_uint8

SCRIPT = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def titanium_carbide(shared):
    return read_master_pattern(shared / "reference/emsoft/TiC.h5")


def pictures(text):
    """The pictures in a text, decoded."""
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    return [Image.open(io.BytesIO(base64.b64decode(part))) for part in found]


def assert_harmless(text):
    """Nothing that runs, nothing from outside, no colour of its own."""
    without_pictures = re.sub(r"data:image/png;base64,[^\"]+", "", text)
    assert not re.search(r"<script|https?:|url\(|@import|<link|on\w+=", without_pictures)
    assert not re.search(r"color|background", without_pictures)


def test_values_and_titles_are_escaped():
    for text in (
        card(SCRIPT, {SCRIPT: SCRIPT}),
        table([SCRIPT], [[SCRIPT]]),
        picture(np.zeros((4, 4), np.uint8), SCRIPT),
    ):
        assert "<script" not in text and "&lt;script&gt;" in text
    assert "<b>" in table(["a"], [[Raw("<b>")]])


def test_a_picture_is_the_image(shared):
    ramp = np.tile(np.arange(100, dtype=np.uint8), (50, 1))
    (back,) = pictures(picture(ramp, "ramp"))
    assert np.array_equal(np.asarray(back), ramp)
    (small,) = pictures(picture(np.tile(ramp, (8, 8)), "large"))
    assert small.size == (PIXELS, PIXELS // 2)


def test_a_master_pattern_shows_its_disc_and_says_its_units(titanium_carbide):
    text = titanium_carbide._repr_html_()
    assert_harmless(text)
    (disc,) = pictures(text)
    levels, alpha = np.moveaxis(np.asarray(disc), 2, 0)
    assert alpha[0, 0] == 0 and alpha[len(alpha) // 2, len(alpha) // 2] == 255
    inside = alpha == 255
    side = 2 * (PIXELS // 2) + 1
    ball = titanium_carbide.stereographic(-1, side)
    axis = np.linspace(-1, 1, side)
    whole = grey(ball, axis[:, None] ** 2 + axis[None, :] ** 2 <= 1)[::-1]
    expected = np.asarray(Image.fromarray(whole).resize(disc.size, Image.Resampling.LANCZOS))
    rim = axis[: len(levels), None] ** 2 + axis[None, : len(levels)] ** 2 < 0.9
    assert np.corrcoef(levels[inside & rim], expected[inside & rim])[0, 1] > 0.98
    for words in ("Fm-3m (225)", "nm", "keV", "g/cm³", "nm²", "made by"):
        assert words in text, words
    assert len(text) < 60_000


def test_a_name_from_a_file_cannot_run(titanium_carbide):
    hostile = replace(titanium_carbide, crystal=replace(titanium_carbide.crystal, name=SCRIPT))
    patterns = project(hostile, Detector.paper(16), 1)
    for shown in (hostile, hostile.crystal, patterns):
        assert "<script" not in shown._repr_html_() and "&lt;script" in shown._repr_html_()


def test_projecting_is_the_projector_and_the_seed_the_orientations(titanium_carbide):
    detector = Detector.paper(24)
    found = project(titanium_carbide, detector, 8, seed=3, energy_weights="fast")
    quaternions = random_rotations(8, 3)
    assert np.array_equal(found.quaternions, quaternions)
    projector = Projector(titanium_carbide, detector, energy_weights="fast")
    assert np.array_equal(found.intensities, projector.patterns(quaternions).numpy())
    again = project(titanium_carbide, detector, quaternions, energy_weights="fast")
    assert np.array_equal(found.intensities, again.intensities)
    assert repr(found) == "<8 patterns 24x24 of TiC, space group 225>" and len(found) == 8
    text = found._repr_html_()
    assert_harmless(text)
    shown = pictures(text)
    assert len(shown) == 6 and "the first 6" in text
    assert np.array_equal(np.asarray(shown[2]), found.images[2])
    for words in ("24 × 24", "µm", "19.1 mm", "13.7°", "Bruker"):
        assert words in text, words


def test_saved_patterns_are_images_of_the_patterns(titanium_carbide, tmp_path):
    found = project(titanium_carbide, Detector.paper(16), 2, energy_weights="none")
    paths = found.save(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["pattern_0000.png", "pattern_0001.png"]
    assert sorted(p.name for p in paths[0].parent.iterdir()) == [p.name for p in paths]
    for path, image in zip(paths, found.images, strict=True):
        assert np.array_equal(np.asarray(Image.open(path)), image)
    assert np.array_equal(found.images, to_uint8(found.intensities).numpy())


def test_what_cannot_be_projected_is_refused(titanium_carbide):
    with pytest.raises(OrientationError):
        project(titanium_carbide, Detector.paper(8), [1.0, 2.0])
    with pytest.raises(OrientationError, match="-1"):
        project(titanium_carbide, Detector.paper(8), -1)
    with pytest.raises(ProjectionError, match="energy_weights"):
        project(titanium_carbide, Detector.paper(8), 1, energy_weights="some")
