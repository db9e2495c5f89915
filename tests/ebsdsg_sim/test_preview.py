"""Pictures of master patterns."""

import numpy as np
import pytest
from PIL import Image

from ebsdsg_sim.hdf5 import read_master_pattern
from ebsdsg_sim.masterpattern import MasterPattern, MasterPatternError
from ebsdsg_sim.preview import grey, master_pattern_png


@pytest.fixture(scope="module")
def titanium_carbide(shared):
    return read_master_pattern(shared / "reference/emsoft/TiC.h5")


def test_a_picture_shows_disc_and_square_with_contrast(titanium_carbide, tmp_path):
    master_pattern_png(titanium_carbide, tmp_path / "tic.png", size=101)
    image = np.asarray(Image.open(tmp_path / "tic.png"))
    assert image.shape == (101, 210)
    disc, square = image[:, :101], image[:, -101:]
    assert (disc[0, 0], disc[-1, -1]) == (255, 255)
    assert square.std() > 30
    assert np.abs(square[::-1].astype(int) - square).max() <= 2  # m-3m: mirror planes
    assert [p.name for p in tmp_path.iterdir()] == ["tic.png"]


def test_different_hemispheres_are_both_drawn(titanium_carbide, tmp_path):
    mp = titanium_carbide
    polar = MasterPattern(
        mp.north, mp.south * 2, mp.energies, mp.crystal, mp.parameters, mp.monte_carlo
    )
    master_pattern_png(polar, tmp_path / "polar.png", size=51, energy_index=0)
    assert Image.open(tmp_path / "polar.png").size == (110, 102)


def test_grey_levels_stretch_and_a_flat_image_does_no_harm():
    ramp = np.linspace(5, 6, 10_000).reshape(100, 100)
    assert (grey(ramp).min(), grey(ramp).max()) == (0, 255)
    assert np.all(np.diff(grey(ramp).ravel().astype(int)) >= 0)
    assert (grey(np.ones((4, 4))) == 0).all()


def test_an_impossible_size_is_refused_and_leaves_nothing(titanium_carbide, tmp_path):
    with pytest.raises(MasterPatternError, match="odd"):
        master_pattern_png(titanium_carbide, tmp_path / "x.png", size=50)
    assert list(tmp_path.iterdir()) == []
