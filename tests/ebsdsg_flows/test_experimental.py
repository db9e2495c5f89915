"""``ebsdsg patterns``: import, show and select with documents, and one clear error each."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from ebsdsg_flows.adaptation import target_path
from ebsdsg_flows.cli import app
from ebsdsg_flows.experimental import import_files, select_best, set_path, show_set
from ebsdsg_flows.prediction import predict_files
from ebsdsg_flows.session import open_stores
from ebsdsg_ml.calibration import calibrate
from ebsdsg_ml.ensemble_model import load_model
from ebsdsg_ml.experimental.given import Given
from ebsdsg_ml.experimental.pattern_set import read_pattern_set
from ebsdsg_ml.experimental.processing import PatternProcessing
from ebsdsg_ml.models import build_model
from ebsdsg_ml.pattern_model import ModelCard, PatternModel
from ebsdsg_ml.transforms import Preprocessing
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


def test_names_with_square_brackets_are_printed_as_they_are(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["Ni [red] 4.png", "[bold]x.png", "y[_b].png"]
    files = [tmp_path / name for name in names]
    rng = np.random.default_rng(0)
    for file in files:
        Image.fromarray(rng.integers(0, 255, (48, 48), dtype=np.uint8)).save(file)
    given = Given(phase="[i]Ni[/x]")
    stored = tmp_path / "[b]set[/x].h5"
    import_files(files, stored, given=given, processing=SMALL, database=False)
    capsys.readouterr()
    show_set(str(stored), None, 3, table=True)
    shown = "".join(capsys.readouterr().out.split())
    assert all("".join(name.split()) in shown for name in names)
    assert shown.count("[i]Ni[/x]") == 4  # in the summary and in three lines
    network, _ = build_model("resnet18", 2)
    card = ModelCard("resnet18", (221, 225), "true", Preprocessing(48, 47))
    PatternModel(network, card).save(tmp_path / "m.pt")
    table = tmp_path / "grains.csv"
    table.write_text("file,grain\n" + "".join(f"{name},[/g]{name}\n" for name in names))
    for grain in (None, str(table)):
        assert predict_files(files, str(tmp_path / "m.pt"), grain=grain) == 0
        shown = "".join(capsys.readouterr().out.replace("│", " ").split())
        assert "[red]" in shown and "[bold]" in shown and (grain is None or "[/g]" in shown)


def test_a_model_is_calibrated_on_imported_patterns_of_known_phases(
    root: Path, shared: Path, tmp_path: Path
) -> None:
    """Each phase imported as the model's file says; what cannot be the truth is refused."""
    torch.set_num_threads(1)
    plain = PatternProcessing(60, static=None, dynamic=None)
    card = ModelCard(
        "mobilenet_v3_small",
        (225, 227),
        "relabelled",
        Preprocessing(60, 56),
        processing=plain.to_dict(),
    )
    model = PatternModel(build_model(card.model, 2, seed=0)[0], card)
    file = str(model.save(tmp_path / "model.pt"))
    folder = shared / "data/patterns"

    def call(*arguments: str) -> Any:
        return CliRunner().invoke(app, arguments)

    def imported(name: str, path: str, *options: str) -> str:
        output = str(tmp_path / f"{name}.h5")
        done = call(
            "patterns", "import", str(folder / path), "-o", output, "--no-database", "-q", *options
        )
        assert done.exit_code == 0, done.exception
        return output

    def calibrated(*sets: str, options: tuple[str, ...] = ()) -> Any:
        chosen = [word for path in sets for word in ("--dataset", path)]
        return call("model", "calibrate", file, str(tmp_path / "c.pt"), *chosen, *options)

    nickel, silicon = "kikuchipy_Ni/patterns.h5", "kikuchipydata_Si/si_in.h5"
    like = ("--like", file)
    ni = imported("ni", nickel, *like, "--phase", "Ni", "--group", "225", "--relabelled", "225")
    si = imported("si", silicon, *like, "--phase", "Si", "--group", "227", "--relabelled", "227")
    done = calibrated(ni, si, options=("--coverage", "0.6"))
    assert done.exit_code == 0 and "is your word" in done.stdout, done.exception
    known = load_model(tmp_path / "c.pt").card.calibration
    assert known is not None and (known.n_phases, known.n_patterns) == (2, 10)
    assert known.fitted_on == "imported patterns of Ni 225, Si 227"
    held = [read_pattern_set(path) for path in (ni, si)]
    logits = np.concatenate([model.logits(h.patterns).double().numpy() for h in held])
    expected = calibrate(logits, np.repeat([0, 1], [9, 1]), np.repeat([0, 1], [9, 1]), coverage=0.6)
    assert known.temperature == pytest.approx(expected.temperature, rel=1e-6)
    assert known.set_threshold == pytest.approx(expected.set_threshold, rel=1e-6)

    adapted = replace(card, training={"target": hashlib.sha256(held[0].patterns).hexdigest()})
    for sets, options, says in (
        (
            (imported("true", nickel, *like), si),
            (),
            "9 of 9 patterns have no relabelled space group",
        ),
        ((imported("cut", nickel, "--size", "60"), si), (), "import the original files again"),
        (
            (imported("odd", nickel, *like, "--group", "229", "--relabelled", "229"),),
            (),
            "not among",
        ),
        ((ni, si), ("--fold", "0"), "imported patterns have no folds"),
        ((ni, file), (), "give one data set, or one or several sets of imported patterns"),
    ):
        refused = calibrated(*sets, options=options)
        assert says in str(refused.exception)
    PatternModel(model.network, adapted).save(tmp_path / "model.pt")
    assert "the patterns that the model was adapted to" in str(calibrated(ni, si).exception)


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
