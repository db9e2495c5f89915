"""One map read alone is the one of the whole file."""

from pathlib import Path

import numpy as np
import pytest

from ebsdsg_sim.energy_map import map_picture, read_energy, read_namelists
from ebsdsg_sim.hdf5 import MasterPatternFileError, read_master_pattern
from ebsdsg_sim.preview import grey


def test_it_is_the_map_that_the_whole_file_gives(shared: Path) -> None:
    path = shared / "reference/emsoft/TiC.h5"
    whole = read_master_pattern(path)
    for hemisphere in ("north", "south"):
        for index in (0, len(whole.energies) - 1):
            np.testing.assert_array_equal(
                read_energy(path, index, hemisphere), whole.total(hemisphere)[index]
            )
    axis = np.linspace(-1, 1, 101)
    disc = axis[:, None] ** 2 + axis[None, :] ** 2 <= 1
    expected = grey(whole.stereographic(0, 101), disc)[::-1]
    drawn = map_picture(read_energy(path, 0), "stereographic", 101)
    np.testing.assert_array_equal(drawn, expected)
    assert (drawn[0, 0], map_picture(read_energy(path, 0), "lambert", 101).shape) == (
        255,
        (101, 101),
    )
    assert any("EkeV" in text for text in read_namelists(path).values())


def test_what_is_not_there_is_said(shared: Path, tmp_path: Path) -> None:
    path = shared / "reference/emsoft/TiC.h5"
    for index in (-1, 1000):
        with pytest.raises(MasterPatternFileError, match="no energy"):
            read_energy(path, index)
    with pytest.raises(MasterPatternFileError, match="no such file"):
        read_energy(tmp_path / "none.h5", 0)
