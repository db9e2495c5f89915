"""Images of every common kind get answers with sets; broken ones give one clear error each."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebsdsg_ml.answer_files import answer_picture, write_answers, write_picture
from ebsdsg_ml.calibration import Calibration
from ebsdsg_ml.ensemble import EnsembleError
from ebsdsg_ml.ensemble_model import EnsembleModel, load_model
from ebsdsg_ml.experimental.image import ImageError, read_image
from ebsdsg_ml.experimental.processing import PatternProcessing
from ebsdsg_ml.grains import Grains
from ebsdsg_ml.model_file import ModelFileError
from ebsdsg_ml.models import build_model
from ebsdsg_ml.pattern_model import ModelCard, PatternModel
from ebsdsg_ml.predict import PredictionError, predict
from ebsdsg_ml.transforms import Preprocessing


@pytest.fixture(scope="module")
def model() -> PatternModel:
    network, _ = build_model("resnet18", 3)
    card = ModelCard("resnet18", (221, 225, 229), "true", Preprocessing(48, 47))
    return PatternModel(network, card)


@pytest.fixture
def grey() -> np.ndarray:
    """(80, 100) uint8, bands and a gradient."""
    y, x = np.mgrid[:80, :100]
    return (100 + 50 * np.sin(x / 5 + y / 9) + y).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "jpg"])
def test_formats_agree(grey: np.ndarray, tmp_path: Path, suffix: str) -> None:
    Image.fromarray(grey).save(tmp_path / f"p.{suffix}")
    found = read_image(tmp_path / f"p.{suffix}")
    assert found.shape == (80, 100)
    assert np.abs(found - grey).max() <= (12 if suffix == "jpg" else 0)


def test_depth_and_colour_do_not_matter(
    grey: np.ndarray, tmp_path: Path, model: PatternModel
) -> None:
    Image.fromarray(grey).save(tmp_path / "a8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "a16.png")
    Image.fromarray(np.stack([grey] * 3, axis=2)).save(tmp_path / "rgb.png")
    Image.fromarray(np.stack([*[grey] * 3, grey // 2], axis=2)).save(tmp_path / "rgba.png")
    Image.fromarray(grey.astype(np.float32) / 3).save(tmp_path / "float.tif")
    names = ["a8.png", "a16.png", "rgb.png", "rgba.png", "float.tif"]
    assert read_image(tmp_path / "a16.png").max() > 255
    answers = predict(model, [tmp_path / name for name in names]).answers
    for answer in answers:
        assert sum(answer.probabilities.values()) == pytest.approx(1)
        assert answer.space_group == max(answer.probabilities, key=answer.probabilities.get)
        for group, probability in answers[0].probabilities.items():
            assert answer.probabilities[group] == pytest.approx(probability, abs=0.02)
    assert answers[0].to_dict()["path"].endswith("a8.png")
    # a model that was never calibrated claims no set
    assert {a.verdict for a in answers} == {"answer"} and answers[0].in_set is None


def test_an_image_of_a_training_pattern_is_that_pattern(tmp_path: Path, dataset: Path) -> None:
    from ebsdsg_ml.pattern_dataset import PatternDataset

    patterns = PatternDataset(dataset)
    pattern = patterns.read([3])[0]
    Image.fromarray(pattern).save(tmp_path / "p.png")
    network, _ = build_model("mobilenet_v3_small", 3)
    processing = PatternProcessing.like(patterns.recipe).to_dict()
    card = ModelCard(
        "mobilenet_v3_small", (221, 225, 229), "true", Preprocessing(32, 31), processing=processing
    )
    found = predict(PatternModel(network, card), [tmp_path / "p.png"]).answers[0]
    assert np.corrcoef(found.pattern.ravel(), pattern.ravel())[0, 1] > 0.999


def test_real_patterns_are_read(shared: Path, model: PatternModel) -> None:
    folder = shared / "data/patterns"
    files = [
        folder / "krkaufma_Al/sample_ebsd.tiff",
        folder / "kikuchipy_Ni/calibration_425_447.bmp",
        *sorted((folder / "openxy_ferrite/patterns").glob("*.jpg"))[:3],
    ]
    files = [f for f in files if f.exists()]
    assert len(files) == 5
    found = predict(model, files)
    assert len(found.answers) == 5 and not found.errors
    for answer in found.answers:
        assert 0 < answer.image_quality < 1


def test_vendor_files_have_an_answer_for_each_pattern(shared: Path, model: PatternModel) -> None:
    folder = shared / "data/patterns/kikuchipy_Ni"
    found = predict(model, [folder])
    assert len(found.answers) == 11
    assert found.answers[-1].name == "patterns.h5 #8"
    pooled = predict(model, [folder], grain="file").answers
    assert [a.patterns for a in pooled] == [1, 1, 9]
    # the geometric mean: mean log-probability, normalised
    logs = np.log([list(a.probabilities.values()) for a in found.answers[2:]]).mean(axis=0)
    expected = np.exp(logs) / np.exp(logs).sum()
    assert list(pooled[2].probabilities.values()) == pytest.approx(list(expected))


def test_broken_images_give_one_clear_error(
    grey: np.ndarray, tmp_path: Path, model: PatternModel
) -> None:
    good = tmp_path / "good.png"
    Image.fromarray(grey).save(good)
    cases = {"text.png": b"not an image", "empty.png": b"", "cut.png": good.read_bytes()[:-60]}
    Image.fromarray(grey).save(tmp_path / "whole.jpg")
    cases["cut.jpg"] = (tmp_path / "whole.jpg").read_bytes()[:700]
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    found = predict(model, [good, *(tmp_path / name for name in cases), tmp_path / "none"])
    assert [a.name for a in found.answers] == ["good.png"]
    assert len(found.errors) == len(cases) + 1
    for name, message in zip(["none", *cases], found.errors, strict=True):
        assert name in message
    with pytest.raises(ImageError, match="does not exist"):
        read_image(tmp_path / "none.png")
    Image.fromarray(np.full((50, 50), 7, np.uint8)).save(tmp_path / "blank.png")
    with pytest.raises(ImageError, match=r"blank\.png is blank"):
        read_image(tmp_path / "blank.png")
    Image.fromarray(grey[:8, :8]).save(tmp_path / "tiny.png")
    with pytest.raises(ImageError, match="at least 16"):
        read_image(tmp_path / "tiny.png")
    frames = [Image.fromarray(grey), Image.fromarray(grey)]
    frames[0].save(tmp_path / "two.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="holds 2 images"):
        read_image(tmp_path / "two.tif")
    lone = np.full((100, 100), 7, np.uint8)
    lone[50, 50] = 200
    Image.fromarray(lone).save(tmp_path / "lone.png")
    found = predict(model, [tmp_path / "lone.png"])
    assert not found.answers and "blank" in found.errors[0]
    assert predict(model, []).answers == []


@pytest.fixture
def calibrated(model: PatternModel) -> PatternModel:
    return model.calibrated(
        Calibration(temperature=2.0, coverage=0.9, set_threshold=0.75, unknown_threshold=1e9)
    )


def test_sets_verdicts_and_neighbours_follow_from_the_calibration(
    grey: np.ndarray, tmp_path: Path, model: PatternModel, calibrated: PatternModel
) -> None:
    Image.fromarray(grey).save(tmp_path / "p.png")
    plain = predict(model, [tmp_path / "p.png"]).answers[0]
    found = predict(calibrated, [tmp_path / "p.png"]).answers[0]
    p = np.array(list(plain.probabilities.values())) ** 0.5
    assert list(found.probabilities.values()) == pytest.approx(list(p / p.sum()))
    inside = {g for g, q in found.probabilities.items() if q >= 0.25}
    assert found.in_set is not None and set(found.in_set) == inside
    assert found.verdict == ("answer" if len(inside) == 1 else "abstain")
    # Fm-3m and Im-3m are each one klassengleiche step from Pm-3m, not from each other
    near = {221: (225, 229), 225: (221,), 229: (221,)}
    assert found.confusable == near[found.space_group]
    strange = calibrated.calibrated(
        Calibration(coverage=0.9, set_threshold=0.75, unknown_threshold=-1e9)
    )
    assert predict(strange, [tmp_path / "p.png"]).answers[0].verdict == "unknown"


def test_grains_of_a_table_are_pooled(
    grey: np.ndarray, tmp_path: Path, calibrated: PatternModel
) -> None:
    for i in range(3):
        Image.fromarray(np.roll(grey, 9 * i, axis=1)).save(tmp_path / f"p{i}.png")
    table = tmp_path / "grains.csv"
    table.write_text("file,grain\np0.png,4\np1.png,7\np2.png,4\n")
    images = sorted(tmp_path.glob("*.png"))
    found = predict(calibrated, images, grain=table).answers
    assert [(a.name, a.patterns) for a in found] == [("grain 4", 2), ("grain 7", 1)]
    sure = predict(calibrated, images, grain=table, dependence=0.0).answers
    assert sure[0].probability > found[0].probability
    table.write_text("file,grain\np0.png,4\n")
    with pytest.raises(PredictionError, match=r"does not name p1\.png"):
        predict(calibrated, images, grain=table)
    with pytest.raises(PredictionError, match="columns file, grain"):
        table.write_text("a,b\n1,2\n")
        predict(calibrated, images, grain=table)


def test_grains_of_files_that_share_a_name(
    grey: np.ndarray, tmp_path: Path, calibrated: PatternModel
) -> None:
    images = [tmp_path / folder / "p.png" for folder in "ab"]
    for i, image in enumerate(images):
        image.parent.mkdir()
        Image.fromarray(np.roll(grey, 9 * i, axis=1)).save(image)
    table = tmp_path / "grains.csv"
    # a byte-order mark, as Excel writes it, and a slash in the name of a grain
    table.write_text("file,grain\na/p.png,ferrite/12\nb/p.png,2\n", encoding="utf-8-sig")
    found = predict(calibrated, images, grain=table).answers
    assert [(a.name, a.patterns) for a in found] == [("grain ferrite/12", 1), ("grain 2", 1)]
    table.write_text("file,grain\np.png,1\nb/p.png,2\n")  # the longest name that fits
    assert [a.name for a in predict(calibrated, images, grain=table).answers] == [
        "grain 1",
        "grain 2",
    ]
    for content, message in {
        "p.png,1": r"p\.png is .*a/p\.png and .*b/p\.png: name them with their folders",
        "a/p.png,1\nb/p.png,2\n./a/p.png,3": r"line 4: ./a/p\.png is of grain 3 here and of 1",
        "a/p.png,1\nb/p.png,": "line 3: give a file and its grain",
        "a/p.png,1\nb/p.png": "line 3: give a file and its grain",
    }.items():
        table.write_text(f"file,grain\n{content}\n")
        with pytest.raises(PredictionError, match=message):
            predict(calibrated, images, grain=table)
    assert [a.patterns for a in predict(calibrated, images, grain="file").answers] == [1, 1]


def test_grains_of_files_in_other_folders_than_the_table(tmp_path: Path) -> None:
    table = tmp_path / "tables/grains.csv"
    table.parent.mkdir()
    for folder in ("data", "other"):
        (tmp_path / folder).mkdir()
        for name in ("p.png", "p.h5"):
            (tmp_path / folder / name).touch()

    def grain(content: str, *files: str, number: int = 0) -> list[str]:
        table.write_text(f"file,number,grain\n{content}\n")
        grains = Grains(table)
        return [grains.of(tmp_path / file, "", number)[0] for file in files]

    # relative to the table, with the other file of the name beside it
    both = "../data/p.png,,1\n../other/p.png,,2"
    assert grain(both, "data/p.png", "other/p.png", "other/../data/p.png") == ["1", "2", "1"]
    assert grain(f"{tmp_path}/data/p.png,,1\n../other/p.png,,2", "data/p.png") == ["1"]
    # where it once lay
    assert grain("/mnt/disk/p.png,,1", "data/p.png") == ["1"]
    assert grain("old/place/p.png,,1", "data/p.png") == ["1"]
    # a file of a set's sources that is no longer there may have gone where the table says
    assert grain("../data/p.png,,1", "gone/p.png") == ["1"]
    # some patterns of a file by a name with folders, the others by one without
    for number, expected in ((0, "1"), (3, "2")):
        assert grain("p.h5,,1\ndata/p.h5,3,2", "data/p.h5", number=number) == [expected]
    for content, files, message in (
        ("/mnt/disk/p.png,,1", ("data/p.png", "other/p.png"), "table has it in /mnt/disk$"),
        ("/mnt/a/p.png,,1\n/mnt/b/p.png,,2", ("data/p.png",), "has it in /mnt/a, /mnt/b$"),
        ("../data/p.png,,1", ("other/p.png",), r"p\.png is in .*/other, .* has it in \.\./data$"),
        ("../data/q.png,,1", ("data/p.png",), r"does not name p\.png \(pattern 0\)$"),
        (f"../data/p.png,,1\n{tmp_path}/data/p.png,,2", ("data/p.png",), "are one file"),
    ):
        with pytest.raises(PredictionError, match=message):
            grain(content, *files)


def test_grains_of_an_imported_set_are_of_its_files(
    grey: np.ndarray, tmp_path: Path, shared: Path, calibrated: PatternModel
) -> None:
    from ebsdsg_ml.experimental.read import import_patterns

    processing = PatternProcessing(48, static=None, dynamic=None)
    for i in range(2):
        Image.fromarray(np.roll(grey, 9 * i, axis=1)).save(tmp_path / f"x{i}.png")
    nickel = shared / "data/patterns/kikuchipy_Ni/patterns.h5"
    files = [*sorted(tmp_path.glob("*.png")), nickel]
    stored = tmp_path / "set.h5"
    import_patterns(files, stored, processing=processing)
    numbers = "".join(f"patterns.h5,{i},{'ab'[i % 2]}\n" for i in range(9))
    table = tmp_path / "grains.csv"
    table.write_text(f"file,number,grain\nx0.png,,a\nx1.png,,b\n{numbers}")
    for grain, expected in (
        (table, [("grain a", 6), ("grain b", 5)]),
        ("file", [("x0.png", 1), ("x1.png", 1), ("patterns.h5", 9)]),
    ):
        for given in ([stored], files):
            found = predict(calibrated, given, grain=grain).answers
            assert [(a.name, a.patterns) for a in found] == expected


def test_the_quality_of_an_answer_is_the_model_s(
    grey: np.ndarray, tmp_path: Path, model: PatternModel
) -> None:
    from ebsdsg_ml.experimental.read import import_patterns

    Image.fromarray(grey).save(tmp_path / "p.png")
    processing = PatternProcessing(48, static=None, dynamic=None)
    import_patterns(
        [tmp_path / "p.png"], tmp_path / "set.h5", processing=processing, quality_mask=0.3
    )
    qualities = [
        predict(model, [tmp_path / name]).answers[0].image_quality for name in ("p.png", "set.h5")
    ]
    assert qualities[0] == qualities[1]


def test_a_model_of_no_numbers_is_broken(grey: np.ndarray, tmp_path: Path) -> None:
    import torch

    network, _ = build_model("resnet18", 3)
    with torch.no_grad():
        network.fc.bias.fill_(float("nan"))
    card = ModelCard("resnet18", (221, 225, 229), "true", Preprocessing(48, 47))
    Image.fromarray(grey).save(tmp_path / "p.png")
    with pytest.raises(PredictionError, match="the model is broken: it gives no finite numbers"):
        predict(PatternModel(network, card), [tmp_path / "p.png"])


def test_answers_are_written_and_read_back(
    grey: np.ndarray, tmp_path: Path, calibrated: PatternModel
) -> None:
    import csv
    import json

    import pyarrow.parquet

    Image.fromarray(grey).save(tmp_path / "p.png")
    answers = predict(calibrated, [tmp_path / "p.png"]).answers
    for suffix in ("csv", "json", "parquet"):
        write_answers(tmp_path / f"a.{suffix}", answers, {"model": "m"})
    expected = answers[0].to_dict()
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    assert table.to_pylist() == [expected]
    assert json.loads(table.schema.metadata[b"ebsdsg"]) == {"model": "m"}
    assert json.loads((tmp_path / "a.json").read_text()) == {"model": "m", "answers": [expected]}
    with (tmp_path / "a.csv").open() as file:
        assert next(csv.DictReader(file))["p_225"] == str(expected["p_225"])
    with pytest.raises(PredictionError, match=r"\.csv, \.json or \.parquet"):
        write_answers(tmp_path / "a.xlsx", answers, {})
    with pytest.raises(PredictionError, match=r"a\.csv: no answer to write"):
        write_answers(tmp_path / "a.csv", [], {})
    with pytest.raises(PredictionError, match=r"a\.xyz: answers are drawn as \.png"):
        write_picture(tmp_path / "a.xyz", answer_picture(answers))
    assert (tmp_path / "a.csv").stat().st_size > 100 and not (tmp_path / "a.xyz").exists()
    path = write_picture(tmp_path / "a.png", answer_picture(answers * 3, "three"))
    with Image.open(path) as picture:
        # the bars of three answers are there in the colours of the set or outside of it
        colours = {c for _, c in picture.convert("RGB").getcolors(1 << 20)}
        assert colours & {(0, 114, 178), (86, 180, 233)} and picture.height > 300


def test_csv_tells_an_empty_set_from_none(
    grey: np.ndarray, tmp_path: Path, model: PatternModel, calibrated: PatternModel
) -> None:
    import csv
    import dataclasses

    Image.fromarray(grey).save(tmp_path / "p.png")
    without = predict(model, [tmp_path / "p.png"]).answers[0]
    empty = dataclasses.replace(predict(calibrated, [tmp_path / "p.png"]).answers[0], in_set=())
    path = write_answers(tmp_path / "a.csv", [without, empty], {})
    with path.open() as file:
        assert [row["set"] for row in csv.DictReader(file)] == ["?", ""]


def test_json_has_no_numbers_that_are_none(
    grey: np.ndarray, tmp_path: Path, model: PatternModel
) -> None:
    import dataclasses
    import json

    Image.fromarray(grey).save(tmp_path / "p.png")
    answer = predict(model, [tmp_path / "p.png"]).answers[0]
    odd = dataclasses.replace(answer, image_quality=float("nan"))
    path = write_answers(tmp_path / "a.json", [odd], {"risks": [float("inf"), 0.1]})
    read = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert read["answers"][0]["image_quality"] is None and read["risks"] == [None, 0.1]


def test_an_ensemble_is_one_file_and_answers_with_the_mean(
    tmp_path: Path, model: PatternModel, calibrated: PatternModel
) -> None:
    other, _ = build_model("resnet18", 3, seed=5)
    card = model.card
    second = PatternModel(other, card).calibrated(Calibration(temperature=0.5))
    both = EnsembleModel([calibrated, second], Calibration(temperature=1.5, coverage=0.8))
    patterns = np.random.default_rng(0).integers(0, 255, (5, 48, 48), np.uint8)
    again = load_model(both.save(tmp_path / "e.pt"))
    assert isinstance(again, EnsembleModel) and again.card == both.card
    assert (again.probabilities(patterns) == both.probabilities(patterns)).all()
    mean = (calibrated.probabilities(patterns) + second.probabilities(patterns)) / 2
    assert both.calibrated(None).probabilities(patterns) == pytest.approx(mean)
    powered = mean ** (1 / 1.5)
    assert both.probabilities(patterns) == pytest.approx(powered / powered.sum(1, keepdims=True))
    free = [m.logits(patterns).logsumexp(1).numpy() for m in both.members]
    assert both.logits(patterns).logsumexp(1).numpy() == pytest.approx(np.mean(free, 0), abs=1e-5)
    third, _ = build_model("resnet18", 2)
    odd = PatternModel(third, ModelCard("resnet18", (221, 225), "true", Preprocessing(48, 47)))
    with pytest.raises(EnsembleError, match="member 1 differs from the first in classes"):
        EnsembleModel([model, odd])
    single = load_model(model.save(tmp_path / "m.pt"))
    assert isinstance(single, PatternModel)
    (tmp_path / "e.pt").write_bytes((tmp_path / "e.pt").read_bytes()[:-5000])
    with pytest.raises(ModelFileError, match="cannot be read"):
        load_model(tmp_path / "e.pt")


def test_model_files_of_the_first_layout_are_read(tmp_path: Path, model: PatternModel) -> None:
    import json

    import torch

    content = model.content()
    old = json.loads(content["card"])
    for name in ("processing", "quality"):
        del old[name]
    old["calibration"] = {"temperature": 1.7}
    content |= {"layout_version": 1, "card": json.dumps(old)}
    torch.save(content, tmp_path / "old.pt")
    read = load_model(tmp_path / "old.pt")
    assert read.card.calibration == Calibration(temperature=1.7)
    assert not read.card.processing
    torch.save({**content, "layout_version": 9}, tmp_path / "new.pt")
    with pytest.raises(ModelFileError, match="layout version 9, this program reads 1 and 2"):
        load_model(tmp_path / "new.pt")


def test_files_that_are_no_models_are_refused_in_our_own_words(
    tmp_path: Path, model: PatternModel, grey: np.ndarray
) -> None:
    import json

    import torch

    file = tmp_path / "other.pt"
    Image.fromarray(grey).save(tmp_path / "ok.png")
    torch.save({"format": "ebsdsg model", "run": Path("code")}, file)  # more than weights
    for path in (tmp_path / "ok.png", file):
        with pytest.raises(ModelFileError, match="is not a model file, or holds more") as refused:
            load_model(path)
        assert path.name in str(refused.value) and "weights_only" not in str(refused.value)
    good = model.content()
    card = json.loads(good["card"])
    smaller, _ = build_model("resnet18", 2)
    two = PatternModel(smaller, model.card).content()
    ensemble = {"format": "ebsdsg ensemble", "layout_version": 1, "calibration": None}
    for reason, content in {
        "no entry 'card'": {k: v for k, v in good.items() if k != "card"},
        "card is no JSON: Expecting": good | {"card": "no JSON"},
        "no entry 'repeated'": good | {"card": json.dumps({"model": "resnet18"})},
        "card is no JSON object": good | {"card": "[1]"},
        "no entry 'weights'": {k: v for k, v in good.items() if k != "weights"},
        "'int' object": good | {"weights": {"fc.bias": 3}},
        "no torchvision or timm model 'resnet19'": good
        | {"card": json.dumps(card | {"model": "resnet19"})},
        "description is not usable": good | {"card": json.dumps(card | {"classes": "many"})},
        "size mismatch for fc.weight": two,
        "no entry 'members'": ensemble,
        "'int' object is not iterable": ensemble | {"members": 3},
        "at least one model": ensemble | {"members": []},
        "is not an ebsdsg model": ensemble | {"members": [3]},
        "unexpected keyword": ensemble | {"members": [good], "calibration": {"heat": 1.0}},
    }.items():
        torch.save(content, file)
        with pytest.raises(ModelFileError, match=re.escape(reason)) as refused:
            load_model(file)
        assert str(refused.value).startswith(str(file)) and len(str(refused.value)) < 500
