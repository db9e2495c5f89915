"""EMEBSD is given what a detector says, and its output is not believed unseen."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from ebsdsg_flows.engines.base import EngineFailure
from ebsdsg_flows.engines.emsoft.project import project_patterns
from ebsdsg_flows.settings import get_settings
from ebsdsg_sim.detector import Detector

DETECTOR = Detector((40, 50), pixel_size=23.0, distance=19100.0, tilt=13.7, ypc=7.434783)
EULER = np.array([[0.0, 0, 0], [90, 0, 0], [12.5, 30, 45]])


@pytest.fixture
def settings(tmp_path: Path, emsoft: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """File with the orders for the stand-in."""
    monkeypatch.setenv("EMSOFT_STAND_IN", str(tmp_path / "orders.json"))
    monkeypatch.setenv("EBSDSG_EMSOFT_PATH", str(emsoft))
    monkeypatch.setenv("EBSDSG_CONFIG_FILE", os.devnull)
    get_settings.cache_clear()
    return tmp_path / "orders.json"


def test_patterns_are_read_and_the_folder_is_removed(
    settings: Path, shared: Path, tmp_path: Path
) -> None:
    master = shared / "reference" / "emsoft" / "TiC.h5"
    patterns = project_patterns(master, EULER, DETECTOR, tmp_path / "work")
    assert patterns.shape == (3, 40, 50) and patterns.dtype == np.float32
    assert list((tmp_path / "work").iterdir()) == []


def test_the_folder_may_be_named_relatively(
    settings: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings.write_text(json.dumps({"EMEBSD *": {"do": "empty"}}))
    with pytest.raises(EngineFailure, match="empty"):  # what EMEBSD writes is found, and judged
        project_patterns(shared / "reference/emsoft/TiC.h5", EULER, DETECTOR, Path("work"))
    settings.unlink()
    patterns = project_patterns(shared / "reference/emsoft/TiC.h5", EULER, DETECTOR, Path("work"))
    assert patterns.shape == (3, 40, 50)


@pytest.mark.parametrize("name", ["/data/xtal/TiC.xtal", "carbides/TiC.xtal"])
def test_the_crystal_file_may_have_been_in_any_folder(
    settings: Path, shared: Path, tmp_path: Path, name: str
) -> None:
    master = tmp_path / "master.h5"
    shutil.copyfile(shared / "reference" / "emsoft" / "TiC.h5", master)
    with h5py.File(master, "r+") as file:
        for group in ("NMLparameters/MCCLNameList", "EMData/EBSDmaster"):
            del file[group]["xtalname"]
            file[group].create_dataset("xtalname", data=[name], dtype=h5py.string_dtype("ascii"))
    before = master.read_bytes()
    assert project_patterns(master, EULER, DETECTOR, tmp_path / "work").shape == (3, 40, 50)
    assert master.read_bytes() == before


def test_what_the_detector_says_is_in_the_namelist(
    settings: Path, shared: Path, tmp_path: Path
) -> None:
    settings.write_text(json.dumps({"EMEBSD *": {"do": "empty"}}))
    with pytest.raises(EngineFailure, match="empty") as caught:
        project_patterns(
            shared / "reference" / "emsoft" / "TiC.h5", EULER, DETECTOR, tmp_path / "work"
        )
    assert caught.value.code == 161
    (text,) = [path.read_text() for path in tmp_path.rglob("EMEBSD.nml")]
    for line in ("numsx = 50,", "numsy = 40,", "thetac = 13.7,", "ypc = 7.434783,", "L = 19100.0,"):
        assert f" {line}\n" in text
    (angles,) = [path.read_text().split() for path in tmp_path.rglob("angles.txt")]
    assert angles[:2] == ["eu", "3"] and np.allclose([float(a) for a in angles[2:]], EULER.ravel())


def test_an_unfinished_master_pattern_is_not_projected(
    settings: Path, shared: Path, tmp_path: Path
) -> None:
    unfinished = tmp_path / "unfinished.h5"
    unfinished.write_bytes((shared / "reference" / "emsoft" / "TiC.h5").read_bytes())
    with h5py.File(unfinished, "r+") as file:
        file["EMData/EBSDmaster/lastEnergy"][0] = 6
    with pytest.raises(EngineFailure, match="unfinished") as caught:
        project_patterns(unfinished, EULER, DETECTOR, tmp_path / "work")
    assert caught.value.code == 131
