"""A real browser: the pages draw, move, act, fit a phone, and have no finding of axe.

axe-core (Deque Systems, MPL-2.0) lies beside this file for these tests only; the browser is the
system's Chromium, installed from Debian where it is missing.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from debian_packages import require
from playwright.sync_api import sync_playwright
from web_campaign import TOKEN

from ebsdsg_flows.web.access import Access
from ebsdsg_flows.web.app import create_app
from stores.collections import Stores
from stores.documents import TrainingRunDocument
from stores.states import State

AXE = Path(__file__).parent / "axe" / "axe.min.js"
RUN_AXE = """async () => {
  const found = await axe.run();
  return [found.passes.length, found.violations.map(v => `${v.impact} ${v.id}: ` +
    v.nodes.map(n => n.target).join(", "))];
}"""

pytestmark = pytest.mark.slow


@pytest.fixture
def address(stores: Stores, root: Path, members: dict[str, str]) -> Iterator[str]:
    """Address of a running server."""
    stores.save(
        TrainingRunDocument(
            key="run-1",
            config={"epochs": 2},
            dataset="0" * 64,
            labels="true",
            fold=0,
            state=State.COMPLETED,
            accuracy=0.75,
            epochs=[
                {"epoch": e, "train_loss": 1 / e, "validation_loss": 1.2 / e,
                 "train_accuracy": 0.5, "validation_accuracy": 0.4}
                for e in (1, 2)
            ],
            confusion={"validation": {"classes": [221, 225], "counts": [[3, 1], [0, 4]]}},
        )
    )  # fmt: skip
    app = create_app(stores, root, Access.of("127.0.0.1", TOKEN))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def browser() -> Iterator[Any]:
    """Chromium without a head."""
    require(["chromium"], ["chromium"])
    with sync_playwright() as driver:
        opened = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield opened
        opened.close()


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


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_every_page_is_accessible_and_fits(
    browser: Any, address: str, scheme: str, width: int
) -> None:
    page, wrong = open_page(browser, address, scheme, width)
    for path in (
        "/", "/campaigns/little", "/triage?code=150&name=time-out", "/structures",
        "/structures/mp-1", "/structures/mp-2", "/training", "/training/run-1", "/predict",
        "/login",
    ):  # fmt: skip
        page.goto(address + path)
        page.wait_for_load_state("networkidle")
        page.evaluate(AXE.read_text())
        passed, violations = page.evaluate(RUN_AXE)
        assert passed > 10, "axe did not look at the page"
        assert violations == [], path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (dark == "rgb(255, 255, 255)") == (scheme == "light")
    # plotly.js puts one style element into the page that the policy refuses; it is not needed
    assert [line for line in wrong if "inline style" not in line] == []


def test_the_slider_and_a_rerun(
    browser: Any, address: str, stores: Stores, members: dict[str, str]
) -> None:
    page, _ = open_page(browser, address, "light", 1200)
    page.goto(f"{address}/structures/mp-1")
    picture = page.locator(".picture img").first
    before = picture.get_attribute("src")
    assert before.endswith("/north/2.png")
    page.locator("input[name=energy]").fill("0")
    page.get_by_text("18 keV", exact=True).wait_for()
    picture = page.locator(".picture img").first
    assert picture.get_attribute("src").endswith("/north/0.png")
    # the page's policy forbids the eval() of wait_for_function
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 401
    page.locator("input.zones").uncheck()
    assert not page.locator(".picture svg").first.is_visible()

    page.goto(f"{address}/training/run-1")
    page.locator(".plot .main-svg").first.wait_for()
    place = page.locator(".plot .main-svg").nth(1).bounding_box()
    plot = page.locator(".plot").bounding_box()
    assert place["y"] < plot["y"] + 10  # the layers of the figure lie on each other

    page.goto(f"{address}/triage?code=150&name=time-out")
    assert page.locator("form[action='/triage/rerun']").count() == 0
    page.get_by_role("main").get_by_role("link", name="Log in").click()
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    page.goto(f"{address}/triage?code=150&name=time-out")
    form = page.locator("form[action='/triage/rerun']").first
    form.get_by_label("Time per stage").fill("24h")
    form.get_by_role("button").click()
    page.get_by_text("simulations sent again").wait_for()
    attempt = stores.simulations.find_one({"key": members["timed_out"]})["attempts"][-1]
    assert (attempt["number"], attempt["walltime"]) == (2, 86400)
