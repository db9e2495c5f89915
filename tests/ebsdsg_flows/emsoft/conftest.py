"""An EMsoft installation of stand-in programs, as a user would have it on PATH."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ebsdsg_flows.settings import get_settings
from tests.ebsdsg_flows.emsoft.bench import Bench

FAKES = Path(__file__).parents[2] / "fakes" / "emsoft"
PROGRAMS = ("EMmkxtal", "EMMCOpenCL", "EMMC", "EMEBSDmaster", "EMEBSD")


def install(folder: Path, shared: Path) -> Path:
    """Programs and resource files below a folder; returns the installation folder."""
    for name in ("bin", "opencl", "resources", "NamelistTemplates"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in ("opencl/EMMC.cl", "resources/templatecodes.txt", "resources/RandomSeeds.data"):
        (folder / name).write_text("stand-in\n")
    for name in PROGRAMS:
        program = folder / "bin" / name
        program.write_text(
            f"#!{sys.executable}\nimport os, sys\nsys.path.insert(0, {str(FAKES)!r})\n"
            f"os.environ.setdefault('EMSOFT_STAND_IN_DATA', {str(shared / 'reference/emsoft')!r})\n"
            f"import {name.lower()} as program\nprogram.main()\n"
        )
        program.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def emsoft(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    """Installation folder of the stand-ins."""
    return install(tmp_path_factory.mktemp("EMsoft"), shared)


@pytest.fixture
def xtal_environment(tmp_path: Path) -> dict[str, str]:
    """Environment in which EMmkxtal writes to the test's folder."""
    return {**os.environ, "EMXTALFOLDERPATHNAME": f"{tmp_path}/"}


@pytest.fixture
def bench(tmp_path: Path, emsoft: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    orders = tmp_path / "orders.json"
    for name, value in (
        ("EMSOFT_STAND_IN", orders),
        ("EBSDSG_ROOT", tmp_path / "root"),
        ("EBSDSG_CONFIG_FILE", os.devnull),
        ("EBSDSG_EMSOFT_PATH", emsoft),
        ("EBSDSG_EMSOFT_GRACE", 0.5),
    ):
        monkeypatch.setenv(name, str(value))
    get_settings.cache_clear()
    return Bench(tmp_path / "root", orders)
