"""Uploaded patterns are answered as the command line answers them; what is not one is refused."""

from __future__ import annotations

import importlib.util
import io
import re
import threading
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from web_training import CALIBRATION

from ebsdsg_flows.web import hdf5_uploads, uploads
from ebsdsg_flows.web import predict as page
from ebsdsg_flows.web.kept import Kept
from ebsdsg_ml.dataset_file import open_dataset
from ebsdsg_ml.experimental.pattern_set import FORMAT, is_pattern_set, stored_patterns
from ebsdsg_ml.figures import class_name
from ebsdsg_ml.pattern_model import PatternModel
from stores.collections import Stores

Site = Callable[..., TestClient]
HOME = {"Origin": "http://127.0.0.1"}
UP2 = "edax_binary/edax_binary.up2"


@pytest.fixture
def png(root: Path, dataset: str) -> Callable[[int], bytes]:
    """Makes the image of a pattern of the data set."""

    def make(row: int) -> bytes:
        buffer = io.BytesIO()
        with open_dataset(root / "datasets" / f"{dataset}.h5") as opened:
            Image.fromarray(np.asarray(opened.patterns[row])).save(buffer, format="PNG")
        return buffer.getvalue()

    return make


def sample(name: str) -> bytes:
    """A file that comes with kikuchipy: nine patterns of nickel in a vendor's format."""
    found = importlib.util.find_spec("kikuchipy")
    assert found is not None and found.origin is not None
    return (Path(found.origin).parent / "data" / name).read_bytes()


def send(client: TestClient, *files: tuple[str, bytes], model: str = "run:run-1", **form: str):
    sent = [("pattern", file) for file in files]
    return client.post("/predict", data={"model": model, **form}, files=sent, headers=HOME)


def test_a_pattern_is_answered_with_what_the_model_does_not_know(
    site: Site, dataset: str, png: Callable
) -> None:
    client = site()
    answer = send(client, ("p.png", png(7)))
    assert answer.status_code == 303
    text = client.get(answer.headers["location"]).text
    group, percent = re.search(r"<h1>.*? \((\d+)\)</span>, (\d+) %</h1>", text).groups()
    assert "p.png: true space group, by" in text and "relabelled" not in text
    assert group in ("221", "225", "229") and 33 <= int(percent) <= 100
    # a random network is not sure of three groups, and its calibration says so
    assert "The model abstains" in text and "cannot be excluded" in text
    assert "with probability 90% where" in text and CALIBRATION.fitted_on in text
    assert "above 100.00 a pattern is called unknown" in text
    assert "near groups" in text and "one step away in the subgroup graph" in text
    # the pattern was one of the data set: it is found, and nothing is more like it
    row = re.search(rf"/datasets/{dataset}/patterns/(\d+)\.png", text)[1]
    assert row == "7" and "cross-correlation 1.000" in text
    assert client.get(f"/datasets/{dataset}/patterns/7.png").status_code == 200
    seen = client.get(f"{answer.headers['location']}/pattern.png")
    assert np.asarray(Image.open(io.BytesIO(seen.content))).shape == (32, 32)


def change_card(stores: Stores, root: Path, **changes: object) -> None:
    """Give the model of run-1 another card."""
    run = stores.training_runs.find_one({"key": "run-1"})
    model = PatternModel.load(root / run["checkpoint"]["path"])
    model.card = replace(model.card, **changes)
    path = model.save(root / "training" / "changed.pt")
    changed = {"checkpoint": {"path": "training/changed.pt", "bytes": path.stat().st_size,
                              "sha256": "1" * 64}}  # fmt: skip
    stores.training_runs.update_one({"key": "run-1"}, {"$set": changed})


def test_what_a_calibration_can_never_say_is_said(
    site: Site, stores: Stores, root: Path, png: Callable
) -> None:
    few = replace(CALIBRATION, coverage=0.995, set_threshold=1.0)
    change_card(stores, root, calibration=few)
    client = site()
    text = client.get(send(client, ("p.png", png(7))).headers["location"]).text
    assert "with probability 99.5% where" in text
    assert "6 phases are too few for sets of 99.5% (199 are needed): every set holds all" in text


def test_a_model_that_gives_no_numbers_is_called_broken(
    site: Site, stores: Stores, root: Path, png: Callable
) -> None:
    run = stores.training_runs.find_one({"key": "run-1"})
    model = PatternModel.load(root / run["checkpoint"]["path"])
    with torch.no_grad():
        for weights in model.network.parameters():
            weights.fill_(float("nan"))
    model.save(root / run["checkpoint"]["path"])
    answer = send(site(), ("p.png", png(7)))
    assert answer.status_code == 422
    assert "the model is broken: it gives no finite numbers for p.png" in answer.text


def test_a_relabelled_group_is_called_so_wherever_it_stands(
    site: Site, stores: Stores, root: Path, dataset: str, png: Callable
) -> None:
    change_card(stores, root, label="relabelled")
    client = site()
    address = send(client, ("p.png", png(7))).headers["location"]
    group = re.search(r"<h1>.*? \((\d+)\)</span>, \d+ %</h1>", client.get(address).text)[1]
    same = {f"members.{i}.relabelled": int(group) for i in range(6)}
    stores.datasets.update_one({"key": dataset}, {"$set": same})
    text = client.get(address).text
    assert "p.png: relabelled space group, by" in text
    assert '<th scope="col">relabelled space group</th>' in text
    assert "when all atoms count as alike" in text
    plain = re.sub("<[^>]+>", "", text)
    assert f"Pm-3m (221), Fm-3m (225), Im-3m (229) became {class_name(int(group))}." in plain


@pytest.mark.parametrize("kind", ["ensemble", "file"])
def test_ensembles_and_model_files_answer_as_runs_do(
    site: Site, dataset: str, png: Callable, kind: str
) -> None:
    client = site()
    form = client.get("/predict").text
    assert "2 runs together" in form and "carried &lt;b&gt;.pt" in form and "mcd" in form
    model = re.search(rf'value="({kind}:[^"]+)"', form)[1].replace("&lt;", "<").replace("&gt;", ">")
    text = client.get(send(client, ("p.png", png(3)), model=model).headers["location"]).text
    assert "patterns/3.png" in text and "cross-correlation 1.000" in text
    # the members of an ensemble are calibrated one by one, it has no sets of its own
    assert ("not calibrated" in text) == (kind == "ensemble")


@pytest.mark.parametrize(
    "model",
    [
        "",
        "run:none",
        "ensemble:none",
        "file:../training/model.pt",
        "file:/etc/passwd",
        "file:",
        "x",
    ],
)
def test_other_models_are_not_found(site: Site, png: Callable, model: str) -> None:
    assert send(site(), ("p.png", png(0)), model=model).status_code in (404, 422)


def test_a_model_file_that_leads_out_of_the_data_root_is_not_offered(
    site: Site, root: Path, dataset: str, png: Callable
) -> None:
    outside = root.parent / "outside.pt"
    (root / "models" / "carried <b>.pt").rename(outside)
    (root / "models" / "link.pt").symlink_to(outside)
    assert "link.pt" not in site().get("/predict").text
    assert send(site(), ("p.png", png(0)), model="file:link.pt").status_code == 404


def test_several_patterns_have_a_table_with_a_page_each_and_one_answer_as_a_grain(
    site: Site, png: Callable
) -> None:
    client = site()
    names = ("b.png", "a.png", "a.png", "../<b>c.png")
    files = [(name, png(row)) for row, name in enumerate(names)]
    answer = send(client, *files, one_grain="true", dependence="0")
    table = client.get(answer.headers["location"]).text
    assert "<h1>4 patterns</h1>" in table and "all 4 patterns as one grain" in table
    links = re.findall(r'<th scope="row"><a href="([^"]*/\d+)">([^<]*)</a>', table)
    assert [name for _, name in links] == ["_b_c.png", "a (2).png", "a.png", "b.png"]
    probabilities = []
    for link, name in [*links, (f"{answer.headers['location']}/4", "all 4 patterns")]:
        text = client.get(link).text
        assert name in text
        found = dict(re.findall(r'value="([\d.e-]+)" aria-label="probability of (\d+)"', text))
        probabilities.append([float(p) for p, _ in sorted(found.items(), key=lambda i: i[1])])
    # of independent patterns the probabilities multiply
    product = np.prod(probabilities[:4], axis=0)
    assert probabilities[4] == pytest.approx(list(product / product.sum()), rel=1e-6)
    assert client.get(f"{answer.headers['location']}/5").status_code == 404
    assert client.get(f"/predict/answers/{'0' * 32}").status_code == 404
    assert client.get("/predict/answers/..%2f..%2fetc").status_code in (404, 422)


@pytest.mark.parametrize(
    "files",
    [
        [UP2],  # its tenth pattern is blank
        ["edax_h5ebsd/patterns.h5"],
        ["oxford_binary/patterns.ebsp"],
        ["nordif/Pattern.dat", "nordif/Setting.txt", "nordif/Background acquisition pattern.bmp"],
    ],
)
def test_vendors_files_are_answered_pattern_by_pattern(
    site: Site, dataset: str, files: list[str]
) -> None:
    client = site()
    sent = [(Path(name).name, sample(name)) for name in files]
    answer = send(client, *sent, correct="true")
    assert answer.status_code == 303, answer.text
    text = client.get(answer.headers["location"]).text
    assert text.count("/predict/answers/") == 9
    assert f"{Path(files[0]).stem}." in text


def test_a_broken_file_costs_its_own_answer_only(site: Site, png: Callable) -> None:
    client = site()
    torn = ("torn.up2", sample(UP2)[:5000])
    answer = send(client, ("p.png", png(0)), torn)
    text = client.get(answer.headers["location"]).text
    assert "torn.up2" in text and "/0" in text and "ebsdsg-" not in text
    alone = send(client, torn)
    assert alone.status_code == 422 and "torn.up2" in alone.text and "/tmp" not in alone.text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.png", b"no image"),
        ("p.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
        ("Setting.txt", b"[Area]"),
        ("p.ang", b"# TEM_PIXperUM 1.0"),
        ("", b"\x89PNG\r\n\x1a\n" + b"0" * 50),
    ],
)
def test_what_is_no_pattern_is_refused(site: Site, dataset: str, name: str, content: bytes) -> None:
    assert send(site(), (name, content)).status_code in (415, 422)


def test_a_small_file_that_unpacks_to_a_huge_image_is_refused_unread(
    site: Site, dataset: str
) -> None:
    buffer = io.BytesIO()
    Image.new("1", (9000, 9000)).save(buffer, format="PNG")
    assert len(buffer.getvalue()) < 20_000
    answer = send(site(), ("p.png", buffer.getvalue()))
    assert answer.status_code == 413 and "megapixels" in answer.text


def hdf5(fill: Callable[[h5py.File], None]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        fill(file)
    return buffer.getvalue()


def poison(file: h5py.File) -> None:
    """A part that h5py has no type for, with a name that comes before others."""
    h5py.h5d.create(file.id, b"AAA", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((1,)))


def huge(file: h5py.File) -> None:
    file.create_dataset("Scan/EBSD/Header/x", (2**20, 2**14), "u1", chunks=(64, 64))


def huge_and_poisoned(file: h5py.File) -> None:
    huge(file)
    poison(file)


def huge_chunk(file: h5py.File) -> None:
    """A chunk of 4096 bytes whose content unpacks to a hundred megabytes."""
    stored = file.create_dataset("x", (64, 64), "u1", chunks=(64, 64), compression="gzip")
    stored.id.write_direct_chunk((0, 0), zlib.compress(bytes(100_000_000), 9))


def large_chunk(file: h5py.File) -> None:
    """One byte in a chunk of two gigabytes."""
    file.create_dataset("x", (1,), "u1", maxshape=(None,), chunks=(2**31,), compression="gzip")


@pytest.mark.parametrize("fill", [huge, huge_and_poisoned, huge_chunk, large_chunk])
def test_an_hdf5_file_that_unpacks_to_more_than_there_is_memory_for_is_refused(
    site: Site, dataset: str, fill: Callable
) -> None:
    content = hdf5(fill)
    assert len(content) < 120_000
    answer = send(site(), ("p.h5", content))
    assert answer.status_code in (413, 422)
    assert "unpacks to more than" in answer.text or "cannot be checked" in answer.text


def test_texts_of_an_hdf5_file_that_are_one_and_the_same_are_counted_each(
    site: Site, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        texts = file.create_dataset("Manufacturer", (2000,), h5py.string_dtype())
        texts[0] = "x" * 60_000
        place = texts.id.get_offset()
    content = bytearray(buffer.getvalue())
    content[place : place + 2000 * 16] = content[place : place + 16] * 2000
    monkeypatch.setattr(hdf5_uploads, "LARGEST_CONTENT", 10**8)
    answer = send(site(), ("p.h5", bytes(content)))
    assert answer.status_code == 413 and "unpacks to more than" in answer.text


def deep(file: h5py.File) -> None:
    group = file["/"]
    for _ in range(hdf5_uploads.MOST_LINKS + 1):
        group = group.create_group("a")


def twice_packed(file: h5py.File) -> None:
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((64,))
    made.set_deflate(9)
    made.set_deflate(9)
    space = h5py.h5s.create_simple((64,))
    h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_UINT8, space, made)


def texts_in_texts(file: h5py.File) -> None:
    file.create_dataset("x", (3,), np.dtype([("a", h5py.string_dtype())]))


def texts_in_an_attribute(file: h5py.File) -> None:
    file.attrs["format"] = ["a", "b"]


def numbers_for_a_name(file: h5py.File) -> None:
    file.attrs["format"] = [1, 2]


def our_own(file: h5py.File) -> None:
    file.attrs["format"] = FORMAT
    file["patterns"] = np.zeros((3, 32, 32), np.uint8)


@pytest.mark.parametrize(
    ("fill", "status", "told"),
    [
        (deep, 413, "parts"),
        (poison, 422, "cannot be checked"),
        (twice_packed, 422, "compressed twice"),
        (texts_in_texts, 422, "variable length"),
        (texts_in_an_attribute, 422, "several texts"),
        (numbers_for_a_name, 422, "cannot be checked"),
        (our_own, 415, "send the originals"),
    ],
)
def test_what_cannot_be_checked_is_not_read(
    site: Site, dataset: str, fill: Callable, status: int, told: str
) -> None:
    content = io.BytesIO()
    with h5py.File(content, "w", libver="latest") as file:
        fill(file)
    answer = send(site(largest_upload=2**24), ("p.h5", content.getvalue()))
    assert answer.status_code == status and told in answer.text


@pytest.mark.parametrize("poisoned", [False, True], ids=["plain", "poisoned"])
@pytest.mark.parametrize("how", ["link", "soft", "external", "virtual"])
def test_an_hdf5_file_shows_no_other_file_of_this_machine(
    site: Site, dataset: str, root: Path, how: str, poisoned: bool
) -> None:
    secret = root.parent / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["patterns"] = np.full((2, 64, 64), 7, np.uint8)

    def fill(file: h5py.File) -> None:
        file["Manufacturer"] = "kikuchipy"
        data = file.create_group("Scan 1/EBSD/Data")
        file.create_group("Scan 1/EBSD/Header")
        if how == "link":
            data["patterns"] = h5py.ExternalLink(str(secret), "patterns")
        elif how == "soft":
            file["aside/away"] = h5py.ExternalLink(str(secret), "/")
            data["patterns"] = h5py.SoftLink("/aside/away/patterns")
        elif how == "external":
            raw = [(str(secret), 0, 2 * 64 * 64)]
            data.create_dataset("patterns", (2, 64, 64), "u1", external=raw)
        else:
            layout = h5py.VirtualLayout((2, 64, 64), "u1")
            layout[:] = h5py.VirtualSource(str(secret), "patterns", (2, 64, 64))
            data.create_virtual_dataset("patterns", layout)
        if poisoned:
            poison(file)

    answer = send(site(), ("p.h5", hdf5(fill)))
    assert answer.status_code == 422
    assert "refers to other files" in answer.text or (
        poisoned and "cannot be checked" in answer.text
    )


def test_an_hdf5_file_behind_an_image_is_found(site: Site, dataset: str, root: Path) -> None:
    secret = root.parent / "secret"
    secret.write_bytes(bytes(range(256)) * 4)
    image, whole = io.BytesIO(), io.BytesIO()
    Image.new("L", (32, 32)).save(image, format="PNG")
    with h5py.File(whole, "w", userblock_size=512) as file:
        file.attrs["format"] = FORMAT
        file.create_dataset("patterns", (1, 32, 32), "u1", external=[(str(secret), 0, 1024)])
    assert len(image.getvalue()) < 512
    content = image.getvalue() + whole.getvalue()[len(image.getvalue()) :]
    path = root.parent / "p.png"
    path.write_bytes(content)
    # a reader of imported sets would show it
    assert is_pattern_set(path) and stored_patterns(path, [0])[0, 0, 5] == 5
    answer = send(site(), ("p.png", content))
    assert answer.status_code == 415 and "behind something else" in answer.text


def test_too_many_patterns_are_refused_before_they_are_read(
    site: Site, dataset: str, png: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_PATTERNS", 8)
    answer = send(site(), ("p.up2", sample(UP2)))
    assert answer.status_code == 413 and "10 patterns: at most 8" in answer.text
    assert send(site(), *[("p.png", png(0))] * 9).status_code == 413


def test_a_huge_upload_is_refused_before_it_is_read(site: Site, dataset: str) -> None:
    client = site()
    taken = 0

    def pieces():
        nonlocal taken
        for _ in range(1000):
            taken += 10_000
            yield b"x" * 10_000

    kind = {"Content-Type": "multipart/form-data; boundary=b", **HOME}
    said = client.post("/predict", content=pieces(), headers={**kind, "Content-Length": "10000000"})
    assert said.status_code == 413 and said.headers["connection"] == "close"
    assert client.post("/predict", content=b"x" * 1_100_000, headers=kind).status_code == 413


def test_those_who_come_while_others_are_answered_are_sent_away(
    site: Site, png: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "WAITING", 1)
    begun, go_on = threading.Event(), threading.Event()
    received = page.received

    def slow(*given):
        begun.set()
        assert go_on.wait(60)
        return received(*given)

    monkeypatch.setattr(page, "received", slow)
    client, pattern = site(), png(0)
    first: list[int] = []
    thread = threading.Thread(
        target=lambda: first.append(send(client, ("p.png", pattern)).status_code)
    )
    thread.start()
    assert begun.wait(60)
    second = send(client, ("p.png", pattern))
    assert second.status_code == 503 and second.headers["retry-after"] == "10"
    go_on.set()
    thread.join()
    assert first == [303]
    assert send(client, ("p.png", pattern)).status_code == 303


def test_only_the_last_answers_are_kept() -> None:
    class Some:
        size = 40

    kept = Kept(room=100)
    first, second, third = (kept.add(Some()) for _ in range(3))
    assert kept.get(first) is None
    assert kept.get(second) is not None and kept.get(third) is not None


def test_elsewhere_answers_need_the_token(site: Site, png: Callable, stores: Stores) -> None:
    client = site("0.0.0.0", "a token of this test, long enough")
    assert send(client, ("p.png", png(0))).status_code == 403
    assert client.get(f"/predict/answers/{'0' * 32}").status_code == 303
