"""The tutorial, typed as a new user would: every command in order, every output as printed.

The page on notebooks then runs on what the tutorial left behind.

After a change of what is printed, ``EBSDSG_WRITE_TUTORIAL=1 pytest tests/test_tutorial.py`` writes
the outputs into the page; read the difference before it is committed.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from ebsdsg_flows.session import open_stores
from ebsdsg_flows.settings import get_settings
from stores.embedded import stop

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs/tutorial/first_campaign.md"
NOTEBOOK = REPOSITORY / "docs/howto/notebook.md"

NIAL = """data_NiAl
_cell_length_a 2.887
_cell_length_b 2.887
_cell_length_c 2.887
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Ni1 Ni 0 0 0
Al1 Al 0.5 0.5 0.5
"""

MAY_DIFFER = (
    (r"embedded in\s+\S+\.ebsdsg\b", "embedded in a folder"),
    (r"\d+ jobs done in \d+ s", "jobs done in some seconds"),
    (r"\d+(\.\d+)? CPU-seconds", "some CPU-seconds"),
    (r"\d+\.\d MB", "some MB"),
    (r"\d+\.\d per hour", "many per hour"),
    (r"\b\d+ s$", "some seconds"),
    (r" on [\w.-]+, \d{4}-\d\d-\d\d \d\d:\d\d UTC", " on a machine at a time"),
    (r"\b[0-9a-f]{10,64}(?![0-9a-f])", "hash"),
    (r"master_patterns/[0-9a-f]{2}/", "master_patterns/xx/"),
    (r"\(\d+ bytes\)", "(some bytes)"),
    (r"training [0-9a-f]{8}", "training key"),
    (r": \d+% of", ": some of"),  # what networks answer differs between processors
    (r", mostly taken for \d+", ""),
    (r"│ +22[59] │ 0\.\d\d │ (22[59] ?)+ +│ \w+ +│ 0\.\d\d │ [^│]*│", "│ an answer │"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:port"),
    (r"[┏┳┓┡╇┩└┴┘━─]+", "line"),  # columns are as wide as what is in them
    (r" +", " "),
)
"""Patterns of what may differ between two runs, and what stands for it in the comparison."""


def alike(text: str) -> str:
    """Text with what may differ replaced, and without the spaces around lines."""
    for pattern, word in MAY_DIFFER:
        text = re.sub(pattern, word, text, flags=re.DOTALL if "Stores" in pattern else re.M)
    lines = [line.strip() for line in text.strip().splitlines()]
    # documents come as the database has them, and workers finish in any order
    return "\n".join(sorted(lines) if text.startswith("{") else lines)


def steps(page: str) -> Iterator[tuple[str, str]]:
    """Files to save, as (name, content), and commands, as ("$ ...", output as on the page)."""
    for before, kind, text in re.findall(r"(.*?)\n```(\w+)\n(.*?)```\n", page, re.DOTALL):
        named = re.search(r"[Ss]ave this as\s+`([^`]+)`", before)
        if named and kind != "console":
            yield named[1], text
        if kind == "console":
            for command in re.split(r"^(?=\$ )", text, flags=re.M)[1:]:
                line, _, output = command.partition("\n")
                yield line, output


class NewUser:
    """A shell in an empty folder, with the environment of the tests and no settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        clean = {k: v for k, v in os.environ.items() if not k.startswith("EBSDSG_")}
        self.environment = {
            **clean,
            "EBSDSG_CONFIG_FILE": os.devnull,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "COLUMNS": "80",
            "NO_COLOR": "1",
        }

    def types(self, command: str) -> str:
        """What a command prints, without the bars that show its progress."""
        if command == "ebsdsg web":
            return self.browses()
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        lines = done.stdout.splitlines()
        # tables begin with a corner, bars with a word or a space
        return "\n".join(x for x in lines if not re.match(r"[\w ].*━━", x)) + "\n"

    def browses(self) -> str:
        """Start the server, open its first page, end it with Ctrl-C."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "ebsdsg_flows", "web", "--port", str(port)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # a shell's background process ignores Ctrl-C, and so do its children
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.default_int_handler),
        )
        try:
            assert process.stdout is not None
            printed = process.stdout.readline()
            assert b"tour" in opened(printed.split()[0])
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
        return printed


def opened(address: str) -> bytes:
    """A page, as soon as the server that has printed its address answers."""
    patience = time.monotonic() + 60
    while True:
        try:
            with urlopen(address, timeout=60) as page:
                content: bytes = page.read()
                return content
        except URLError:
            if time.monotonic() > patience:
                raise
            time.sleep(0.5)


@dataclass(frozen=True)
class Tour:
    """What happened on the tutorial: the folder, and each command with what it said and printed."""

    folder: Path
    said: list[tuple[str, str, str]]


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tour]:
    """The tutorial, typed from its first to its last command."""
    folder = tmp_path_factory.mktemp("home") / "tour"
    folder.mkdir()
    user = NewUser(folder)
    said = []
    try:
        for what, content in steps(PAGE.read_text()):
            if what.startswith("$ "):
                printed = user.types(what[2:]).replace(str(folder), "/home/ann/tour")
                said.append((what, content, printed))
            else:
                (folder / what).write_text(content)
        yield Tour(folder, said)
    finally:
        stop(folder / ".ebsdsg")


@pytest.mark.slow
def test_every_command_prints_what_the_page_says(tour: Tour) -> None:
    if os.environ.get("EBSDSG_WRITE_TUTORIAL"):
        page = PAGE.read_text()
        # from the last to the first, so that equal commands keep their outputs
        for step in reversed(tour.said):
            page = with_output(page, *step)
        PAGE.write_text(page)
    else:
        for what, content, printed in tour.said:
            assert alike(printed) == alike(content), f"{what} printed:\n{printed}"
    assert len(tour.said) > 10
    assert (tour.folder / "report/index.html").stat().st_size > 100_000


@pytest.mark.slow
def test_the_notebook_page_runs_on_the_campaign_of_the_tutorial(
    tour: Tour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tour.folder)
    for name in [name for name in os.environ if name.startswith("EBSDSG_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EBSDSG_CONFIG_FILE", os.devnull)
    get_settings.cache_clear()
    open_stores.cache_clear()
    Path("NiAl.cif").write_text(NIAL)
    (dataset,) = Path(".ebsdsg/datasets").glob("*.h5")
    shutil.copy(dataset, "dataset.h5")
    names: dict[str, Any] = {}
    shown = []
    try:
        cells = re.findall(r"```python\n(.*?)```", NOTEBOOK.read_text(), re.DOTALL)
        for cell in cells:
            assert len([line for line in cell.splitlines() if line]) <= 5, cell
            *lines, last = ast.parse(cell).body
            exec(compile(ast.Module(lines, []), "notebook.md", "exec"), names)
            assert isinstance(last, ast.Expr), "a cell ends with what it shows"
            shown.append(eval(compile(ast.Expression(last.value), "notebook.md", "eval"), names))
    finally:
        get_settings.cache_clear()
        open_stores.cache_clear()
    structure, master_pattern, patterns, late, simulation, named, trained = shown
    assert (structure.space_group.number, structure.relabel.number) == (221, 229)
    assert master_pattern.crystal.space_group == 221 and len(patterns) == 6
    assert late == [] and simulation.material_id == "mp-1487"
    for found in (named, trained):
        assert len(found.answers) == 6 and not found.errors
        assert {answer.space_group for answer in found.answers} <= {225, 229}
    for value in (structure, master_pattern, patterns, simulation, named, trained):
        assert "<table>" in value._repr_html_()


def with_output(page: str, command: str, old: str, new: str) -> str:
    """The page with another output below the last command that stands so with the old one."""
    new = re.sub(r"(127\.0\.0\.1):\d+", r"\1:8765", new.strip("\n"))
    new = "\n".join(line.rstrip() for line in new.splitlines())
    before, found, after = page.rpartition(f"{command}\n{old}")
    assert found, command
    return before + (f"{command}\n{new}\n" if new else f"{command}\n") + after


def test_what_may_differ_does_not_hide_what_must_not() -> None:
    page = PAGE.read_text()
    told = [output for what, output in steps(page) if what.startswith("$ ")]
    shown = "\n".join(map(alike, told))
    for fact in (
        "campaign tour: 6 structures, 6 new simulations, 0 already there",
        "campaign tour: 6 structures, 0 new simulations, 6 already there",
        "tour: 6 of 6 completed",
        '{"formula": "AlNi", "space_group": 221, "relabelled": 229, "state": "completed"}',
        "mp-1487: AlNi, Pm-3m (221)",
        "aluminium/pattern_0003.png",
    ):
        assert fact in shown, fact
    assert alike("3 failed\n") != alike("4 failed\n")
