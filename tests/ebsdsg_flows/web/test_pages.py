"""Every page shows what the database holds, and refuses what makes no sense."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from web_campaign import SCRIPT, add_member, structure

from ebsdsg_flows.web.site import static_version
from stores.collections import Stores
from stores.documents import UnusableStructureDocument

Site = Callable[..., TestClient]


def pixels(content: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(content)))


def test_the_campaign_is_counted_as_the_status_counts_it(
    site: Site, stores: Stores, members: dict
) -> None:
    client = site()
    assert '<a href="/campaigns/little">little</a>' in client.get("/").text
    text = client.get("/campaigns/little").text
    while "Counting the members" in text:
        text = client.get("/campaigns/little").text
    assert "<b>1</b> of 5 completed" in text
    for state in ("failed", "timed out", "running", "waiting"):
        assert f"<b>1</b> {state}" in text
    assert "a little &lt;b&gt;campaign&lt;/b&gt;" in text
    assert "mp-4</a> on" in text  # the running one has the oldest heartbeat
    assert "time-out" in text and "150" in text and "it crashed &amp; burnt" in text
    assert '<th scope="col">true space group</th>' in text
    link = re.search(
        r'<a href="(/structures\?group=225[^"]*)"><span class="whole">Fm-3m \(225\)</span></a>',
        text,
    )[1]
    stores.save(structure("mp-elsewhere", "NiO"))
    found = client.get(link.replace("&amp;", "&")).text
    assert re.findall(r'href="/structures/(mp-[^"]+)"', found) == [f"mp-{i}" for i in range(1, 6)]
    assert 'name="campaign" value="little"' in found
    assert "mp-elsewhere" in client.get("/structures?group=225").text
    assert "No structure is like that" in client.get("/structures?campaign=none").text
    part = client.get("/campaigns/little", headers={"HX-Request": "true"}).text
    assert part.lstrip().startswith("<section") and "<html" not in part


def test_what_cannot_be_used_any_more_says_so(site: Site, stores: Stores, members: dict) -> None:
    for key, kind in (("mp-1", "withdrawn"), ("mp-gone", "withdrawn"), ("mp-2", "refused")):
        why = "withdrawn by its source (it is <b>wrong</b>)" if kind == "withdrawn" else "too near"
        stores.save(
            UnusableStructureDocument(
                key=key,
                material_id=key,
                reason=f"{key}: {why}",
                kind=kind,
                symprec=0.7,
                source=structure(key, "Ni").source,
                licence="CC-BY-4.0",
            )
        )
    client = site()
    assert client.get("/structures").text.count("cannot be used</span>") == 1
    gone = client.get("/structures?text=mp-gone", follow_redirects=True).text
    why = "cannot be used (withdrawn): withdrawn by its source (it is &lt;b&gt;wrong&lt;/b&gt;)."
    assert why in gone and "not standardised yet" not in gone and "made before that" not in gone
    outdated = client.get("/structures/mp-1").text
    assert why in outdated and "made before that" in outdated and "Fm-3m" in outdated
    # a refusal at another tolerance than the structure's
    refused = client.get("/structures/mp-2").text
    assert "cannot be used (refused at 0.7 Å): too near." in refused
    assert "is of another tolerance, and counts" in refused and "before that" not in refused


def test_a_structure_shows_cell_labels_patterns_and_runs(site: Site, members: dict) -> None:
    text = site().get("/structures/mp-1").text
    assert "0.3524, 0.3524, 0.3524 nm" in text and "Fm-3m" in text
    assert f"/master-patterns/{members['completed']}/stereographic/north/2.png" in text
    assert f"/master-patterns/{members['completed']}/lambert/north/2.png" in text
    assert "20 keV" in text and 'max="2"' in text
    assert "MCOpenCLNML" in text and "EkeV" in text
    assert "campaign <a" in text
    failed = site().get("/structures/mp-2").text
    assert "it crashed &amp; burnt" in failed and "Segmentation fault" in failed
    assert "With all atoms alike the positions have Pm-3m" in failed
    assert "the difference of the elements is all that lowers the symmetry" in failed
    assert "last &lt;line&gt;" in site().get("/structures/mp-3").text


def test_a_script_in_a_formula_or_identifier_is_text(
    site: Site, stores: Stores, root: Path, members: dict
) -> None:
    add_member(stores, root, "mp/<img src=x>\"'", SCRIPT, "timed_out")
    client = site()
    for path in ("/structures", "/structures/mp-2", "/structures/mp%2F%3Cimg%20src%3Dx%3E%22'"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert SCRIPT not in answer.text and "<img src=x" not in answer.text
        assert "&lt;script&gt;" in answer.text
    found = client.get("/structures", params={"text": SCRIPT})
    assert SCRIPT not in found.text and "mp-2" in found.text
    assert SCRIPT not in client.get(f"/campaigns/{SCRIPT}").text
    links = re.findall(r'href="(/structures/[^"]*img[^"]*)"', client.get("/structures").text)
    assert client.get(links[0]).status_code == 200


def test_the_energy_slider_swaps_real_pictures(site: Site, members: dict) -> None:
    client, key = site(), members["completed"]
    part = client.get(
        f"/master-patterns/{key}/view?energy=0&hemisphere=south", headers={"HX-Request": "true"}
    ).text
    assert "<html" not in part and "18 keV" in part and "southern" in part
    drawn = {}
    for energy in range(3):
        for projection in ("stereographic", "lambert"):
            answer = client.get(f"/master-patterns/{key}/{projection}/north/{energy}.png")
            assert answer.headers["content-type"] == "image/png"
            drawn[projection, energy] = pixels(answer.content)
    assert drawn["lambert", 0].shape == (401, 401)
    assert (drawn["lambert", 0] != drawn["lambert", 2]).any()
    assert (drawn["stereographic", 0][0, 0], drawn["stereographic", 0][0, -1]) == (255, 255)
    # the file's intensity grows with y, which points up
    assert drawn["lambert", 2][5].mean() > drawn["lambert", 2][-5].mean() + 100
    tag = answer.headers["etag"]
    again = client.get(answer.url.path, headers={"If-None-Match": tag})
    assert again.status_code == 304
    assert client.get(f"/master-patterns/{key}/view?energy=1").text.count("<html") == 1


def test_the_zone_axes_lie_on_the_pictures(site: Site, members: dict) -> None:
    text = site().get("/structures/mp-1").text
    assert text.count("<svg") == 2
    assert text.count("<circle") == 2 * 17  # 13 inside or on one half, and the other half's rim
    assert '<circle cx="0.0000" cy="-0.0000"' in text
    circles = [float(y) for y in re.findall(r'<circle [^>]*cy="([^"]+)"', text)]
    labels = [float(y) for y in re.findall(r'<text [^>]*y="([^"]+)"', text)]
    assert len(labels) == len(circles)
    for circle, baseline in zip(circles, labels, strict=True):
        # the letters are 0.05 high, the circle has a radius of 0.02
        assert baseline < circle - 0.02 or baseline - 0.05 > circle + 0.02
        assert -0.95 < baseline < 1


def test_lists_have_pages_and_filters(site: Site, stores: Stores) -> None:
    for i in range(120):
        stores.structures.insert_one(
            structure(f"mp-{i:03}", "NiO" if i < 60 else "Ni", 221 if i < 5 else 225).to_mongo()
        )
    client = site()
    seen: set[str] = set()
    for page in (1, 2, 3):
        text = client.get(f"/structures?page={page}").text
        here = set(re.findall(r'href="/structures/(mp-\d+)"', text))
        assert not here & seen
        seen |= here
        assert ("Next page" in text) == (page < 3) and ("Previous page" in text) == (page > 1)
    assert len(seen) == 120
    assert client.get("/structures?relabelled=221").text.count('href="/structures/mp-') == 5
    assert "No structure is like that" in client.get("/structures?group=229").text
    oxides = client.get("/structures?text=NiO&group=225").text
    assert oxides.count('href="/structures/mp-') == 50
    assert "text=NiO" in oxides and "page=2" in oxides
    direct = client.get("/structures?text=mp-007&group=&relabelled=")
    assert (direct.status_code, direct.headers["location"]) == (303, "/structures/mp-007")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nowhere", 404),
        ("/campaigns/none", 404),
        ("/structures/none", 404),
        ("/structures?page=0", 422),
        ("/structures?page=99999999999", 422),
        ("/structures?group=abc", 422),
        ("/structures?text=" + "x" * 300, 422),
        ("/structures?text=%00", 200),
        ("/structures?text[$gt]=", 200),
        ("/structures/%00", 404),
        ("/structures/%ff%fe", 404),
        ("/master-patterns/../../etc/passwd/view", 404),
        ("/master-patterns/abc/stereographic/north/0.png", 422),
        ("/master-patterns/" + "0" * 64 + "/stereographic/north/0.png", 404),
        ("/master-patterns/" + "0" * 64 + "/view?energy=0", 404),
        ("/master-patterns/" + "0" * 64 + "/view", 422),
        ("/static/x/style.css", 404),
        ("/static/../../settings.py", 404),
        ("/static/%2e%2e/%2e%2e%2fsettings.py", 404),
        ("/static/" + "x" * 12 + "/..%2f..%2fsite.py", 404),
    ],
)
def test_malformed_addresses(site: Site, path: str, status: int) -> None:
    answer = site().get(path)
    assert answer.status_code == status
    assert "Traceback" not in answer.text and "root:" not in answer.text


def test_static_files_are_only_the_packaged_ones(site: Site) -> None:
    client, version = site(), static_version()
    for name in ("style.css", "htmx.min.js", "plotly.min.js"):
        answer = client.get(f"/static/{version}/{name}")
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
    assert client.get(f"/static/{version}/plotly.min.js").text.count("Plotly") > 0
    for name in ("..%2Fsite.py", "..%2f..%2fsettings.py", "%2Fetc%2Fpasswd", "site.py"):
        assert client.get(f"/static/{version}/{name}").status_code == 404


def test_a_picture_bad_energies_and_files_outside_are_refused(
    site: Site, stores: Stores, root: Path, members: dict
) -> None:
    client, key = site(), members["completed"]
    address = f"/master-patterns/{key}/lambert/north"
    assert client.get(f"{address}/3.png").status_code == 404
    assert client.get(f"{address}/-1.png").status_code == 422
    assert client.get(f"/master-patterns/{key}/square/north/0.png").status_code == 422
    file = root / "master_patterns" / f"{key}.h5"
    outside = root.parent / "outside.h5"
    file.rename(outside)
    assert client.get(f"{address}/1.png").status_code == 404
    file.symlink_to(outside)  # below the data root by its name only
    assert client.get(f"{address}/1.png").status_code == 404
    stores.master_patterns.update_one({"key": key}, {"$set": {"file.path": "../outside.h5"}})
    answer = client.get(f"{address}/1.png")
    assert answer.status_code >= 400 and str(root.parent) not in answer.text
    assert "missing or broken" in client.get("/structures/mp-1").text


def test_below_a_proxys_path_every_link_has_it(stores: Stores, root: Path, members: dict) -> None:
    from ebsdsg_flows.web.access import Access
    from ebsdsg_flows.web.app import create_app

    client = TestClient(
        create_app(stores, root, Access.of("127.0.0.1", None)),
        base_url="http://127.0.0.1",
        root_path="/tools/ebsdsg",
    )
    for path in ("/", "/structures", "/structures/mp-1"):
        answer = client.get(f"/tools/ebsdsg{path}")
        assert answer.status_code == 200
        links = re.findall(r'(?:href|src|action|hx-get)="(/[^"]*)"', answer.text)
        assert links and all(link.startswith("/tools/ebsdsg/") for link in links)


def test_nothing_comes_from_elsewhere(site: Site, members: dict) -> None:
    for path in ("/", "/campaigns/little", "/structures", "/structures/mp-1", "/nowhere"):
        text = site().get(path).text
        assert not re.findall(r'(?:src|href|action|hx-get)="(?:https?:)?//', text)
        assert "<script>" not in text and "style=" not in text and "onclick" not in text
