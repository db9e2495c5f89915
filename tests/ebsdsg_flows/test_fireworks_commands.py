"""FireWorks' own commands work with the files at the top of the repository as they stand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stores.embedded import stop

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

CAMPAIGN = """
name: one
structures: {source: demo, materials: [mp-23]}
simulation:
  parameters: {npx: 4, dmin: 0.12, energy_step: 10.0, n_electrons: 20000, mc_pixels: 51}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A folder with the configuration files of the repository's top and a campaign."""
    for name in ("launchpad.yaml", "my_fworker.yaml", "my_qadapter.yaml", "FW_config.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / "one.yaml").write_text(CAMPAIGN)
    (tmp_path / ".ebsdsg").mkdir()
    yield tmp_path
    stop(tmp_path / ".ebsdsg")


def run(folder: Path, *command: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("EBSDSG_")}
    result = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.slow
def test_lpad_and_rlaunch_need_nothing_else(checkout: Path) -> None:
    run(checkout, "ebsdsg", "submit", "one.yaml")
    assert run(checkout, "lpad", "get_wflows", "-d", "count").strip() == "1"
    run(checkout, "rlaunch", "singleshot")
    # rapidfire changes directory for every firework; the relative address must survive that
    run(checkout, "rlaunch", "rapidfire")
    assert run(checkout, "lpad", "get_fws", "-s", "COMPLETED", "-d", "count").strip() == "4"
    found = run(checkout, "ebsdsg", "query", "{}", "-f", "formula,state")
    assert '"state": "completed"' in found


@pytest.mark.slow
def test_a_written_launchpad_works_from_anywhere(checkout: Path, tmp_path_factory) -> None:
    run(checkout, "ebsdsg", "submit", "one.yaml")
    written = tmp_path_factory.mktemp("elsewhere") / "my_launchpad.yaml"
    run(checkout, "ebsdsg", "db", "launchpad", str(written))
    assert written.stat().st_mode & 0o077 == 0
    assert (
        run(written.parent, "lpad", "-l", str(written), "get_wflows", "-d", "count").strip() == "1"
    )
