"""Failures are told by kind, and sent again only by somebody with the token, from our own page."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from web_campaign import TOKEN

from stores.collections import Stores

Site = Callable[..., TestClient]
HOME = {"Origin": "http://127.0.0.1"}
MORE_TIME = {"code": "150", "walltime": "24h", "threads": "2"}


def state(stores: Stores, key: str) -> str:
    return stores.simulations.find_one({"key": key})["state"]


def test_failures_and_time_outs_are_listed_with_their_log(site: Site, members: dict) -> None:
    text = site().get("/triage").text
    assert "time-out" in text and "crash" in text and "it crashed &amp; burnt" in text
    assert "2 / 3" in text and "more time" in text
    assert "<form" not in text and "read-only" in text
    chosen = site().get("/triage", params={"code": 150, "name": "time-out"}).text
    assert "last &lt;line&gt;" in chosen and "mp-3" in chosen and "Segmentation" not in chosen
    assert "No run ended like that" in site().get("/triage?code=7").text


def test_a_rerun_is_refused_without_token_or_from_elsewhere(
    site: Site, stores: Stores, members: dict
) -> None:
    assert site().post("/triage/rerun", data=MORE_TIME, headers=HOME).status_code == 403
    client = site(token=TOKEN)
    assert client.post("/triage/rerun", data=MORE_TIME, headers=HOME).status_code == 403
    wrong = {"Authorization": "Bearer not the token"}
    assert client.post("/triage/rerun", data=MORE_TIME, headers=wrong).status_code == 403
    client.post("/login", data={"token": TOKEN}, headers=HOME)
    for headers in ({}, {"Origin": "http://evil.example"}):
        assert client.post("/triage/rerun", data=MORE_TIME, headers=headers).status_code == 403
    assert client.get("/triage/rerun").status_code == 405
    assert state(stores, members["timed_out"]) == "timed_out"


def test_a_time_out_is_sent_again_with_more_time(site: Site, stores: Stores, members: dict) -> None:
    client = site(token=TOKEN)
    client.post("/login", data={"token": TOKEN}, headers=HOME)
    page = client.get("/triage?code=150&name=time-out").text
    assert page.count('action="/triage/rerun"') == 2  # all of them, and the one structure
    here = {**HOME, "Referer": "http://127.0.0.1/triage?code=150&name=time-out"}
    answer = client.post("/triage/rerun", data=MORE_TIME, headers=here)
    assert answer.status_code == 200 and "<b>1</b> simulations sent again" in answer.text
    assert 'href="/triage?code=150&amp;name=time-out"' in answer.text
    attempt = stores.simulations.find_one({"key": members["timed_out"]})["attempts"][-1]
    assert (attempt["number"], attempt["walltime"], attempt["threads"]) == (2, 86400, 2)
    assert state(stores, members["timed_out"]) == "waiting"
    assert state(stores, members["failed"]) == "failed"


def test_a_program_sends_again_with_the_token_alone(
    site: Site, stores: Stores, members: dict
) -> None:
    answer = site(token=TOKEN).post(
        "/triage/rerun",
        data={"material_id": "mp-2"},
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    assert answer.status_code == 200 and "<html" in answer.text
    assert state(stores, members["failed"]) == "waiting"


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"code": "x"},
        {"code": "150", "walltime": "soon"},
        {"code": "150", "threads": "-1"},
        {"code": "150", "threads": "0"},
        {"state": "completed"},
        {"campaign": "none"},
    ],
)
def test_senseless_reruns_are_refused(
    site: Site, stores: Stores, members: dict, data: dict[str, str]
) -> None:
    answer = site(token=TOKEN).post(
        "/triage/rerun", data=data, headers={"Authorization": f"Bearer {TOKEN}"}
    )
    assert answer.status_code == 422
    assert state(stores, members["timed_out"]) == "timed_out"
