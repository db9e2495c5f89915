"""The command line: instant help, and one clear error for every kind of bad input."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ebsdsg_flows.cli import app
from ebsdsg_flows.run import TooFewWorkers, run_until_idle
from ebsdsg_flows.session import open_stores
from stores.collections import Stores
from stores.documents import DOCUMENTS

Command = Callable[..., subprocess.CompletedProcess[str]]

NICKEL = """data_Ni
_cell_length_a 3.5236
_cell_length_b 3.5236
_cell_length_c 3.5236
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
_symmetry_Int_Tables_number 225
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Ni1 Ni 0 0 0 1
"""

BAD = {
    "broken": "data_x\nloop_\n_atom_site_label\n",
    "text": "this is not a CIF file",
    "unknown element": NICKEL.replace("Ni1 Ni 0", "Qq1 Qq 0"),
    "occupancy above one": NICKEL.replace("0 0 0 1\n", "0 0 0 1.4\n"),
    "not a number": NICKEL.replace("Ni1 Ni 0 0 0 1", "Ni1 Ni nan 0 0 1"),
    "negative cell": NICKEL.replace("_cell_length_a 3.5236", "_cell_length_a -3.5236"),
    "no cell": NICKEL.replace("_cell_length_a 3.5236\n", ""),
}

CAMPAIGN = """
name: little
structures: {{source: {source}}}
simulation: {{parameters: {{npx: 3}}}}
"""


def test_help_takes_less_than_a_second_of_cpu() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    shown = subprocess.run(
        [sys.executable, "-m", "ebsdsg_flows", "--help"], capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "simulate" in shown.stdout
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used < 1.0


def nothing_stored(root: Path) -> bool:
    stores = open_stores()
    counts = [stores.collection(kind).count_documents({}) for kind in DOCUMENTS]
    counts.append(stores.database["workflows"].count_documents({}))
    return not any(counts) and not (root / "master_patterns").exists()


def test_an_interruption_is_one_line_and_its_own_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ebsdsg_flows.cli.imports._import", interrupted)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    done = CliRunner().invoke(app, ["import", "anything", "-q"])
    assert done.exit_code == 130
    assert done.stderr.startswith("interrupted; nothing that was finished is lost")
    assert len(done.output.splitlines()) == 1


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_structure_is_one_error_and_stores_nothing(
    kind: str, ebsdsg: Command, root: Path, tmp_path: Path
) -> None:
    cif = tmp_path / "bad.cif"
    cif.write_text(BAD[kind])
    campaign = tmp_path / "campaign.yaml"
    campaign.write_text(CAMPAIGN.format(source="bad.cif"))
    for arguments in (
        ("simulate", "bad.cif", "-o", "bad.h5"),
        ("submit", "campaign.yaml"),
    ):
        result = ebsdsg(*arguments)
        assert result.returncode == 1, result.stderr
        errors = [line for line in result.stderr.splitlines() if line.strip()]
        assert len(errors) == 1, result.stderr
        assert errors[0].startswith("error: ")
        assert "bad.cif" in errors[0]
    assert not list(tmp_path.glob("bad.h5*"))
    assert nothing_stored(root)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("simulate", "missing.cif", "-o", "x.h5"), "missing.cif"),
        (("submit", "missing.yaml"), "missing.yaml"),
        (("predict", "missing.png", "--model", "missing.pt"), "missing.pt"),
        (("predict", "missing.png"), "--model"),
        (("report", "nobody"), "nobody"),
        (("compare", "missing.h5", "other.h5"), "missing.h5: no such file"),
        (("compare", ".", "other.h5"), ".: is a folder"),
        (("query", "{}", "-c", "nothing"), "nothing"),
        (("query", "{oops"), "JSON"),
        (("query", '{"$where": "1"}'), "$where"),
        (("structures", "subgroups", "221", "225", "--kinds", "z"), "kinds 'z'"),
    ],
)
def test_what_is_missing_is_named(arguments: tuple[str, ...], says: str, ebsdsg: Command) -> None:
    result = ebsdsg(*arguments)
    assert result.returncode == 1, result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert says in result.stderr and not result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-o", "x.h5", "--device", "cuda:99"), "torch cannot use device 'cuda:99'"),
        (("-o", "x.h5", "--device", "foo"), "torch cannot use device 'foo'"),
        (("-o", "folder"), "folder is a folder; name the file to write"),
    ],
)
def test_a_simulation_that_cannot_begin_is_one_error(
    arguments: tuple[str, ...], says: str, ebsdsg: Command, tmp_path: Path
) -> None:
    (tmp_path / "ni.cif").write_text(NICKEL)
    (tmp_path / "folder").mkdir()
    result = ebsdsg("simulate", "ni.cif", *arguments)
    assert result.returncode == 1, result.stderr
    assert f"error: {says}" in result.stderr and "Traceback" not in result.stderr
    assert not list(tmp_path.glob("x.h5*"))


@pytest.mark.parametrize("number", ["0", "-3"])
@pytest.mark.parametrize("command", ["run", "demo"])
def test_fewer_workers_than_one_are_refused(command: str, number: str, ebsdsg: Command) -> None:
    result = ebsdsg(command, "-n", number, timeout=60)
    assert result.returncode == 2, result.stderr
    assert "--workers" in result.stderr


@pytest.mark.parametrize("number", [0, -3])
def test_so_they_are_from_python(number: int, stores: Stores) -> None:
    with pytest.raises(TooFewWorkers, match=f"workers = {number}"):
        run_until_idle(stores, workers=number, quiet=True)


def test_no_step_among_groups_is_said(ebsdsg: Command) -> None:
    result = ebsdsg("structures", "subgroups", "225", "227")
    assert (result.returncode, result.stdout) == (0, "no step among these groups\n")


def test_an_unknown_campaign_key_stores_nothing(
    ebsdsg: Command, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "ni.cif").write_text(NICKEL)
    (tmp_path / "campaign.yaml").write_text(CAMPAIGN.format(source="ni.cif") + "colour: red\n")
    result = ebsdsg("submit", "campaign.yaml")
    assert result.returncode == 1
    assert "unknown key 'colour'" in result.stderr
    assert nothing_stored(root)


@pytest.mark.parametrize("uri", ["nonsense", "mongodb://user:topsecret@127.0.0.1:9/"])
def test_a_wrong_uri_is_one_error_without_its_password(
    uri: str, ebsdsg: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "EBSDSG_MONGO_URI", uri)
    result = ebsdsg("status")
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert "topsecret" not in result.stderr + result.stdout


def test_simulate_a_cif_without_a_database(ebsdsg: Command, root: Path, tmp_path: Path) -> None:
    (tmp_path / "ni.cif").write_text(NICKEL)
    result = ebsdsg(
        "simulate", "ni.cif", "-o", "ni.h5", "--png", "--npx", "5", "--energy-step", "10",
        "--dmin", "0.1", "--electrons", "20000",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "ni.h5").stat().st_size > 0
    assert (tmp_path / "ni.png").stat().st_size > 0
    assert "wrote ni.h5" in result.stdout
    assert not root.exists()
