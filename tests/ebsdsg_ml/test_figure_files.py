"""Figures as files: drawn by Chromium, which is installed where it is missing, or without it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from debian_packages import require
from PIL import Image

from ebsdsg_ml.figures import FigureError, confusion_figure, save_figure, save_figures
from ebsdsg_ml.figures.theme import BACK, INK

FIGURE = confusion_figure([[3, 1], [0, 4]], (221, 225), "Confusion")


@pytest.mark.slow
def test_svg_and_png_are_drawn(tmp_path: Path) -> None:
    require(["chromium"], ["chromium"])
    svg, png = save_figures({tmp_path / "new/a.svg": FIGURE, tmp_path / "a.png": FIGURE}, width=390)
    tree = ElementTree.fromstring(svg.read_text())
    assert tree.tag == "{http://www.w3.org/2000/svg}svg" and tree.get("width") == "390"
    texts = {"".join(e.itertext()) for e in tree.iter("{http://www.w3.org/2000/svg}text")}
    assert "predicted space group" in texts and "75 %3" in texts
    with Image.open(png) as image:
        assert image.size == (2 * 390, 2 * FIGURE.layout.height)
        assert image.convert("RGB").getpixel((3, 3)) == (255, 255, 255)
    dark = save_figure(FIGURE, tmp_path / "dark.svg", dark=True, width=390).read_text()
    back = tuple(int(BACK[True][i : i + 2], 16) for i in (1, 3, 5))
    assert f"rgb{back}".replace(" ", "") in dark.replace(" ", "")
    ink = tuple(int(INK[True][i : i + 2], 16) for i in (1, 3, 5))
    assert f"rgb{ink}".replace(" ", "") in dark.replace(" ", "")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.png", "dark.svg", "new"]


def test_html_and_json_need_no_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER_PATH", "/nonexistent")
    page = save_figure(FIGURE, tmp_path / "a.html").read_text()
    assert not re.search(r'<(script|link)[^>]+(src|href)="http', page), "it needs the network"
    plain = json.loads(save_figure(FIGURE, tmp_path / "a.json", dark=True).read_text())
    assert plain["data"][0]["z"] == [[75, 25], [0, 100]]
    assert plain["layout"]["template"]["layout"]["paper_bgcolor"] == BACK[True]


@pytest.mark.parametrize("browser", ["/nonexistent", "/bin/false"])
def test_without_a_browser_it_says_what_to_install(
    browser: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_PATH", browser)
    (tmp_path / "a.svg").write_text("old")
    with pytest.raises(FigureError, match="apt-get install chromium"):
        save_figures({tmp_path / "a.svg": FIGURE, tmp_path / "b.html": FIGURE})
    assert [path.name for path in tmp_path.iterdir()] == ["a.svg"]
    assert (tmp_path / "a.svg").read_text() == "old"


def test_a_format_that_nobody_writes(tmp_path: Path) -> None:
    with pytest.raises(FigureError, match=r"a\.bmp: figures are written as \.svg"):
        save_figure(FIGURE, tmp_path / "a.bmp")
