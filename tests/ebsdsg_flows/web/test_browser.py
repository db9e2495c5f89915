"""A real browser: the pages draw, move, act, fit a phone, and have no finding of axe.

axe-core (Deque Systems, MPL-2.0) lies beside this file for these tests only; the browser is the
system's Chromium, installed from Debian where it is missing.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import uvicorn
from debian_packages import require
from PIL import Image
from playwright.sync_api import sync_playwright
from web_campaign import TOKEN, add_members
from web_training import MISTAKEN, add_training

from ebsdsg_flows.web.access import Access
from ebsdsg_flows.web.app import create_app
from ebsdsg_ml.dataset_file import open_dataset
from stores.collections import Stores
from stores.connect import connect

AXE = Path(__file__).parent / "axe" / "axe.min.js"
RUN_AXE = """async () => {
  const found = await axe.run();
  return [found.passes.length, found.violations.map(v => `${v.impact} ${v.id}: ` +
    v.nodes.map(n => n.target).join(", "))];
}"""

PIXELS = """async image => {
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const values = context.getImageData(0, 0, canvas.width, canvas.height).data;
  return [image.naturalWidth, values.reduce((sum, value) => sum + value, 0)];
}"""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Served:
    """A running server, its database and the members of its campaign by state."""

    address: str
    stores: Stores
    members: dict[str, str]
    root: Path
    dataset: str


@pytest.fixture(scope="module")
def served(server_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests here: a campaign with a member in every state, and training runs."""
    root = tmp_path_factory.mktemp("root")
    stores = connect(root=server_root, database=f"test_{uuid4().hex}")
    members, dataset = add_members(stores, root), add_training(stores, root)
    app = create_app(stores, root, Access.of("127.0.0.1", TOKEN))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Served(f"http://127.0.0.1:{port}", stores, members, root, dataset)
    server.should_exit = True
    thread.join()
    stores.client.drop_database(stores.database.name)
    stores.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a head."""
    require(["chromium"], ["chromium"])
    with sync_playwright() as driver:
        opened = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield opened
        opened.close()


@pytest.fixture
def upload(served: Served, tmp_path: Path) -> Path:
    """Image of the data set's pattern 7."""
    path = tmp_path / "pattern.png"
    with open_dataset(served.root / "datasets" / f"{served.dataset}.h5") as opened:
        Image.fromarray(np.asarray(opened.patterns[7])).save(path)
    return path


def open_page(browser: Any, address: str, scheme: str, width: int) -> tuple[Any, list[str]]:
    """A page, and what went wrong in it: messages of the console and requests to elsewhere."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 844})
    page, wrong = context.new_page(), []
    page.set_default_timeout(60_000)
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    page.on(
        "request",
        lambda r: None if r.url.startswith((address, "data:")) else wrong.append(r.url),
    )
    return page, wrong


def decoded(picture: Any) -> tuple[int, int]:
    """Width of a picture once the browser has it, and a sum over its pixels."""
    # the page's policy forbids the eval() of wait_for_function
    return tuple(picture.evaluate(PIXELS))


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_every_page_is_accessible_and_fits(
    browser: Any, served: Served, upload: Path, scheme: str, width: int
) -> None:
    page, wrong = open_page(browser, served.address, scheme, width)

    def look(path: str) -> None:
        page.wait_for_load_state("networkidle")
        page.evaluate(AXE.read_text())
        passed, violations = page.evaluate(RUN_AXE)
        assert passed > 10, "axe did not look at the page"
        assert violations == [], path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (dark == "rgb(255, 255, 255)") == (scheme == "light")
        plots = page.locator(".plot")
        for i in range(plots.count()):
            drawn = plots.nth(i).locator(".main-svg").first
            drawn.wait_for()
            assert ("255, 255, 255" in drawn.get_attribute("style")) == (scheme == "light"), path
            assert drawn.bounding_box()["width"] <= width

    for path in (
        "/", "/campaigns/little", "/triage?code=150&name=time-out", "/structures",
        "/structures/mp-1", "/structures/mp-2", "/training", "/training/run-1",
        "/training/compare?run=run-1&run=run-2",
        "/training/run-1/confusion?true=225&predicted=221", "/predict", "/login", "/nowhere",
    ):  # fmt: skip
        page.goto(served.address + path)
        look(path)
    # one pattern has its answer, two have a table
    for files in ([upload], [upload, upload]):
        page.goto(f"{served.address}/predict")
        page.locator("input[name=pattern]").set_input_files(files)
        page.get_by_role("button", name="Name the space group").click()
        page.wait_for_url("**/predict/answers/**")
        look(page.url)
    page.context.close()
    # plotly.js puts one style element into the page that the policy refuses; it is not needed.
    # The page that is nowhere is said to be nowhere
    assert [x for x in wrong if "inline style" not in x and "404" not in x] == []


def test_the_slider_shows_another_picture(browser: Any, served: Served) -> None:
    page, _ = open_page(browser, served.address, "light", 1200)
    page.goto(f"{served.address}/structures/mp-1")
    picture = page.locator(".picture img").first
    assert picture.get_attribute("src").endswith("/north/2.png")
    width, before = decoded(picture)
    assert width == 401
    slider = page.locator("input[name=energy]")
    slider.focus()
    slider.press("ArrowLeft")
    page.get_by_text("19 keV", exact=True).wait_for()
    slider.press("Home")
    page.get_by_text("18 keV", exact=True).wait_for()
    picture = page.locator(".picture img").first
    assert picture.get_attribute("src").endswith("/north/0.png")
    width, after = decoded(picture)
    assert width == 401 and after != before
    assert page.locator(".picture svg").first.is_visible()
    page.locator("input.zones").uncheck()
    assert not page.locator(".picture svg").first.is_visible()
    page.context.close()


def test_a_cell_of_the_confusion_leads_to_a_phase_and_to_a_pattern(
    browser: Any, served: Served
) -> None:
    page, _ = open_page(browser, served.address, "light", 1200)
    page.goto(f"{served.address}/training")
    page.get_by_role("link", name="run-1").click()
    page.locator("#subgroups .main-svg").first.wait_for()
    place = page.locator("#training .main-svg").nth(1).bounding_box()
    plot = page.locator("#training").bounding_box()
    assert place["y"] < plot["y"] + 10  # the layers of the figure lie on each other
    cell = page.get_by_role("row", name="225").get_by_role("link", name=f"{MISTAKEN}")
    cell.first.click()
    page.get_by_role("heading", name="225 taken for 221").wait_for()
    page.locator("th a").get_by_text("<i>Ni</i>").click()  # the formula of a phase, as text
    page.get_by_role("heading", name=f"{MISTAKEN} patterns of mp-1").wait_for()
    assert page.locator(".gallery img").count() == MISTAKEN
    assert decoded(page.locator(".gallery img").first)[0] == 192
    page.locator(".gallery a").first.click()
    assert page.url.endswith(".png") and decoded(page.locator("img"))[0] == 192
    page.go_back()
    page.get_by_role("cell").get_by_role("link", name="mp-1").click()
    page.get_by_role("heading", name="Cell").wait_for()
    page.context.close()


def test_a_pattern_is_uploaded_and_answered(browser: Any, served: Served, upload: Path) -> None:
    page, _ = open_page(browser, served.address, "light", 1200)
    page.goto(f"{served.address}/predict")
    page.get_by_label("Model").select_option("run:run-1")
    page.locator("input[name=pattern]").set_input_files(upload)
    page.get_by_role("button", name="Name the space group").click()
    page.get_by_role("heading", name="Alternatives").wait_for()
    assert page.get_by_role("region", name="Probabilities").get_by_role("row").count() == 1 + 3
    assert page.get_by_text("cross-correlation 1.000").is_visible()
    mine, similar = (decoded(page.locator(".pattern").nth(i)) for i in range(2))
    assert (mine[0], similar[0]) == (32, 192)  # the same pattern, and the site's enlarged picture
    page.goto(f"{served.address}/predict")
    page.locator("input[name=pattern]").set_input_files(Path(__file__))
    page.get_by_role("button", name="Name the space group").click()
    page.get_by_text("this is no image").wait_for()
    page.context.close()


def test_an_answer_fits_a_phone_whatever_its_file_is_called(
    browser: Any, served: Served, upload: Path
) -> None:
    page, _ = open_page(browser, served.address, "light", 390)
    long = upload.rename(upload.with_name("a_pattern_of_a_very_long_name" * 3 + ".png"))
    other = shutil.copy(long, long.with_name("other.png"))
    for files, table in (([long], "Probabilities"), ([long, other], "Answers")):
        page.goto(f"{served.address}/predict")
        page.locator("input[name=pattern]").set_input_files(files)
        page.get_by_role("button", name="Name the space group").click()
        region = page.get_by_role("region", name=table)
        region.wait_for()
        for row in region.locator("tbody tr").all():
            percent = row.get_by_text("%").bounding_box()
            assert percent["x"] + percent["width"] <= 390 - 16, table
    assert page.get_by_role("region", name="Probabilities").count() == 0
    page.context.close()


def test_a_time_out_is_sent_again_with_the_token_only(browser: Any, served: Served) -> None:
    page, _ = open_page(browser, served.address, "light", 1200)
    time_outs = f"{served.address}/triage?code=150&name=time-out"
    form = page.locator("form[action='/triage/rerun']").first
    page.goto(f"{served.address}/triage")
    page.get_by_role("link", name="time-out").click()
    page.get_by_role("row", name="mp-3").first.wait_for()
    assert form.count() == 0
    # a page without the form can be told to send it: the server refuses
    sent = page.evaluate(
        """async () => (await fetch("/triage/rerun", {method: "POST",
           body: new URLSearchParams({code: "150", walltime: "24h"})})).status"""
    )
    assert sent == 403
    page.get_by_role("main").get_by_role("link", name="Log in").click()
    page.get_by_label("Token").fill("a wrong token")
    page.get_by_role("button", name="Log in").click()
    page.get_by_text("This is not the token").wait_for()
    key = {"key": served.members["timed_out"]}
    assert served.stores.simulations.find_one(key)["state"] == "timed_out"
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    # back at the failure that was chosen, not at the list of all
    page.wait_for_url(time_outs)
    form.get_by_label("Time per stage").fill("tomorrow")
    form.get_by_role("button").click()
    page.get_by_text("'tomorrow' is not a duration").wait_for()
    page.get_by_role("link", name="Back to the form").click()
    page.wait_for_url(time_outs)
    page.context.clear_cookies()
    form.get_by_role("button").click()
    page.get_by_text("log in first").wait_for()
    assert served.stores.simulations.find_one(key)["state"] == "timed_out"
    page.get_by_role("link", name="Log in").click()
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(time_outs)
    form.get_by_label("Time per stage").fill("24h")
    form.get_by_role("button").click()
    page.get_by_text("simulations sent again").wait_for()
    page.get_by_role("link", name="Back to the failures").click()
    page.wait_for_url(time_outs)
    found = served.stores.simulations.find_one(key)
    assert found["state"] == "waiting"
    assert (found["attempts"][-1]["number"], found["attempts"][-1]["walltime"]) == (2, 86400)
    page.context.close()


def test_the_counts_of_a_campaign_are_live(browser: Any, served: Served) -> None:
    page, wrong = open_page(browser, served.address, "light", 1200)
    page.goto(f"{served.address}/campaigns/little")
    workflow = page.locator("#workflow")
    workflow.locator(".main-svg").first.wait_for()
    assert "1 completed" in workflow.inner_text()
    workflow.evaluate("element => { element.dataset.mine = 'kept' }")
    served.stores.simulations.update_one(
        {"key": served.members["running"]}, {"$set": {"state": "completed"}}
    )
    # the page asks again every ten seconds, the server counts again every five
    page.get_by_text("2 of 5 completed").wait_for(timeout=60_000)
    assert "2 completed" in workflow.inner_text()
    assert workflow.get_attribute("data-mine") == "kept"  # drawn anew in its place: no flicker
    assert [x for x in wrong if "inline style" not in x] == []
    page.context.close()
