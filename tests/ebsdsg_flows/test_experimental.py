"""``ebsdsg patterns``: import, show and select with documents, and one clear error each."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from ebsdsg_flows.adaptation import target_path
from ebsdsg_flows.experimental import import_files, select_best, set_path, show_set
from ebsdsg_flows.session import open_stores
from ebsdsg_ml.experimental.given import Given
from ebsdsg_ml.experimental.processing import PatternProcessing
from stores.documents import ExperimentalPatternsDocument

Command = Callable[..., subprocess.CompletedProcess[str]]
SMALL = PatternProcessing(60)


def documents() -> list[ExperimentalPatternsDocument]:
    found = open_stores().experimental_patterns.find({}, {"_id": False})
    return [ExperimentalPatternsDocument.from_mongo(entry) for entry in found]


def test_import_select_and_show_with_documents(
    root: Path, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nickel = shared / "data/patterns/kikuchipy_Ni/patterns.h5"
    given = Given(source="kikuchipy", licence="CC-BY 4.0")
    for _ in range(2):  # the second time it is found
        import_files([nickel], None, given=given, processing=SMALL, quiet=True)
    (document,) = documents()
    assert document.n_patterns == document.with_geometry == document.with_orientation == 9
    assert document.phases[0].space_group == 225 and document.unlabelled == 0
    assert document.phases[0].quality[0] <= document.phases[0].quality[2]
    assert document.sources[0].licence == "CC-BY 4.0" and document.sources[0].bytes == 149400
    assert document.processing["dynamic"] == {"operation": "subtract", "sigma": 0.125}
    kept = root / document.file.path
    assert set_path(document.key[:12]) == kept == target_path(open_stores(), document.key)
    assert not list((root / "patterns").glob(".*"))
    with Image.open(root / document.pictures[0].path) as picture:
        assert picture.width > 500

    select_best(document.key, tmp_path / "best.h5", 3, "phase")
    best = next(d for d in documents() if d.key != document.key)
    assert best.n_patterns == 3 and best.selection["of"] == document.content_sha256
    assert best.quality[2] == document.quality[2] and best.quality[0] >= document.quality[1]
    capsys.readouterr()
    show_set(str(tmp_path / "best.h5"), tmp_path / "best.html", 3, table=True)
    shown = capsys.readouterr().out
    assert "3 patterns of 60 x 60 pixels" in shown and "kikuchipy, CC-BY 4.0" in shown
    assert "CC-BY 4.0" in (tmp_path / "best.html").read_text()


def test_errors_are_one_line_and_leave_nothing(
    ebsdsg: Command, shared: Path, root: Path, tmp_path: Path
) -> None:
    silicon = shared / "data/patterns/kikuchipydata_Si/si_in.h5"
    (tmp_path / "short.h5").write_bytes(silicon.read_bytes()[:9000])
    (tmp_path / "pc.yaml").write_text("pc: [0.5, 0.5, -1]\nconvention: tsl\n")
    base = ("patterns", "import", "--no-database", "-o", "out.h5", "-q")
    for arguments, says in (
        ((*base, "short.h5"), "truncated"),
        ((*base, str(silicon), "--geometry", "pc.yaml"), "distance must be positive"),
        (("patterns", "show", "nothing.h5"), "nothing.h5"),
    ):
        result = ebsdsg(*arguments)
        assert result.returncode == 1, result.stderr
        errors = [line for line in result.stderr.splitlines() if line.strip()]
        assert len(errors) == 1 and errors[0].startswith("error: "), result.stderr
        assert says in errors[0]
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix == ".h5") == ["short.h5"]
    result = ebsdsg(*base, str(silicon), "--phase", "Si", "--group", "227", "--size", "120")
    assert result.returncode == 0, result.stderr
    assert "Si, space group 227: 1 patterns" in result.stdout
    assert "the file says Ni" in result.stdout
    assert not (root / "patterns").exists()
