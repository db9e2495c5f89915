"""Who may read and act, and what is refused."""

from __future__ import annotations

import asyncio
import html
import re
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from web_campaign import TOKEN

from ebsdsg_flows.web.access import COOKIE, SESSION_SECONDS, Access, AccessError
from ebsdsg_flows.web.guard import here
from ebsdsg_flows.web.tries import Tries
from stores.collections import Stores

Site = Callable[..., TestClient]
HOME = {"Origin": "http://127.0.0.1"}


def log_in(client: TestClient) -> None:
    answer = client.post("/login", data={"token": TOKEN, "back": "/structures"}, headers=HOME)
    assert answer.status_code == 303 and answer.headers["location"] == "/structures"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert TOKEN not in cookie


@pytest.mark.parametrize(
    "arguments",
    [
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"host": "192.168.1.2"},
        {"host": "a-machine"},
        {"host": "127.0.0.1", "proxy": True},
        {"host": "127.0.0.1", "names": ("ebsdsg.example.org",)},
    ],
)
def test_what_others_could_reach_does_not_start_without_a_token(arguments: dict) -> None:
    with pytest.raises(AccessError, match="EBSDSG_WEB_TOKEN"):
        Access.of(token=None, **arguments)
    assert not Access.of(token=TOKEN, **arguments).open_reading


def test_a_short_token_is_refused() -> None:
    with pytest.raises(AccessError, match="at least 16"):
        Access.of("127.0.0.1", "short")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.2"])
def test_this_machine_may_read_without_a_token(host: str) -> None:
    assert Access.of(host, None).open_reading


def test_a_session_ends_and_cannot_be_made_up() -> None:
    access = Access("t" * 20)
    session = access.session()
    assert access.valid_session(session)
    assert not access.valid_session(access.session(time.time() - SESSION_SECONDS - 1))
    assert access.session() != session
    assert not Access("t" * 20).valid_session(session)  # as after a restart
    for wrong in ("", ".", session[:-1], session + "x", "é", "9" * 400):
        assert not access.valid_session(wrong)
    with pytest.raises(AccessError):
        Access(None).session()
    assert "t" * 20 not in repr(access) and session not in repr(access)
    access.end_session(session)
    assert not access.valid_session(session)


def test_elsewhere_everything_needs_the_token(site: Site, stores: Stores) -> None:
    client = site("0.0.0.0", TOKEN)
    for path in ("/", "/structures", "/campaigns/x", "/master-patterns/" + "0" * 64 + "/view"):
        answer = client.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login?back=%2F")
    assert client.get("/login").status_code == 200
    assert client.post("/predict", data={"run": "x"}, headers=HOME).status_code == 403
    assert client.get("/", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert client.get("/", headers={"Authorization": "Bearer wrong"}).status_code == 303
    log_in(client)
    assert client.get("/").status_code == 200
    cookie = client.cookies[COOKIE]
    other = site("0.0.0.0", TOKEN)
    log_in(other)
    assert client.post("/logout", headers=HOME).status_code == 303
    assert client.get("/").status_code == 303
    # who kept the cookie has nothing any more; others stay
    client.cookies.set(COOKIE, cookie)
    assert client.get("/").status_code == 303
    assert client.post("/triage/rerun", data={"code": "1"}, headers=HOME).status_code == 403
    assert other.get("/").status_code == 200


@pytest.mark.parametrize("place", ["/triage?code=150&name=time-out", "/structures/mp/a%20b"])
def test_a_login_leads_back_to_the_place_with_its_choice(
    site: Site, members: dict, place: str
) -> None:
    for client in (site("0.0.0.0", TOKEN), site(token=TOKEN)):
        answer = client.get(place)
        link = answer.headers.get("location") or html.unescape(
            re.search(r'href="(/login[^"]*)"', answer.text)[1]
        )
        form = client.get(link).text
        back = html.unescape(re.search(r'name="back" value="([^"]*)"', form)[1])
        answer = client.post("/login", data={"token": TOKEN, "back": back}, headers=HOME)
        assert answer.headers["location"] == place


def test_a_form_sent_without_a_session_leads_to_the_login_and_back(
    site: Site, members: dict
) -> None:
    client = site(token=TOKEN)
    page = "http://127.0.0.1/triage?code=150&name=time-out"
    for referer, back in ((page, "%2Ftriage%3Fcode%3D150"), ("http://evil.example/x", '%2F"')):
        answer = client.post(
            "/triage/rerun", data={"code": "150"}, headers={**HOME, "Referer": referer}
        )
        assert answer.status_code == 403 and "log in first" in answer.text
        assert f'href="/login?back={back}' in answer.text.replace("=/&", "=%2F&")
        assert "evil" not in answer.text
    # an address of this server that looks like another one
    answer = client.post("/triage/rerun", headers={**HOME, "Referer": "http://127.0.0.1//evil"})
    assert "evil" not in answer.text


def test_a_check_of_a_proxy_gets_the_head_of_every_page(site: Site, members: dict) -> None:
    client = site()
    for path in ("/", "/structures", "/triage", "/nowhere"):
        whole, head = client.get(path), client.head(path)
        assert head.status_code == whole.status_code and head.content == b""
        assert head.headers["content-type"] == whole.headers["content-type"]
    assert site("0.0.0.0", TOKEN).head("/").status_code == 303


def test_a_wrong_token_opens_nothing_and_is_not_repeated(site: Site) -> None:
    client = site(token=TOKEN)
    answer = client.post("/login", data={"token": "wrong <i>token</i>"}, headers=HOME)
    assert answer.status_code == 403 and "set-cookie" not in answer.headers
    assert "wrong <i>" not in answer.text and "This is not the token" in answer.text


def test_a_server_without_token_has_no_login(site: Site) -> None:
    assert site().get("/login").status_code == 404
    assert site().post("/login", data={"token": ""}, headers=HOME).status_code in (403, 422)
    assert site().post("/logout", headers=HOME).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "https://127.0.0.1"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_forms_of_other_pages_are_refused(site: Site, headers: dict[str, str]) -> None:
    client = site(token=TOKEN)
    log_in(client)
    assert client.post("/logout", headers=headers).status_code == 403
    assert client.post("/login", data={"token": TOKEN}, headers=headers).status_code == 403


def test_another_name_is_refused_so_that_no_page_can_rebind(site: Site) -> None:
    for name in ("evil.example", "127.0.0.1.evil.example", "", "[::2]", "localhost.evil:80"):
        assert site().get("/", headers={"Host": name}).status_code == 400
    for name in ("localhost:8765", "127.0.0.1", "[::1]:8765", "LOCALHOST"):
        assert site().get("/", headers={"Host": name}).status_code == 200


@pytest.mark.parametrize(
    "back", ["//evil.example", "/\\evil", "https://evil.example", "", "javascript:1", "/a\nb"]
)
def test_a_login_leads_nowhere_else(back: str) -> None:
    assert here(back) == "/"


@pytest.mark.parametrize("path", ["/", "/nowhere", "/login", "/structures?group=x"])
def test_every_answer_carries_the_headers(site: Site, path: str) -> None:
    answer = site(token=TOKEN).get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert "script-src 'self';" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == "no-store"
    assert TOKEN not in answer.text


def test_a_huge_body_is_refused_said_or_not(site: Site) -> None:
    client = site(token=TOKEN)
    large = b"token=" + b"x" * 300_000
    kind = {"Content-Type": "application/x-www-form-urlencoded", **HOME}
    assert client.post("/login", content=large, headers=kind).status_code == 413

    def pieces():  # no Content-Length: it is counted as it comes
        for _ in range(30):
            yield b"x" * 10_000

    assert client.post("/login", content=pieces(), headers=kind).status_code == 413
    assert client.get("/", headers={"Content-Length": "-5"}).status_code == 400


def test_a_body_of_unknown_length_is_cut_off_while_it_comes(
    site: Site, stores: Stores, dataset: str
) -> None:
    """A form that would be right goes on for ever, without a Content-Length."""
    app = site().app  # takes a million bytes
    begun = (
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nrun:run-1\r\n'
        b'--b\r\nContent-Disposition: form-data; name="pattern"; filename="p.up2"\r\n\r\n'
    )
    taken, told = 0, []

    async def receive() -> dict[str, Any]:
        nonlocal taken
        piece = begun if not taken else bytes(50_000)
        taken += len(piece)
        assert taken < 5_000_000, "it takes whatever comes"
        return {"type": "http.request", "body": piece, "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        told.append(message)

    headers = [
        (b"host", b"127.0.0.1"),
        (b"origin", b"http://127.0.0.1"),
        (b"transfer-encoding", b"chunked"),
        (b"content-type", b"multipart/form-data; boundary=b"),
    ]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
             "scheme": "http", "path": "/predict", "raw_path": b"/predict", "query_string": b"",
             "root_path": "", "headers": headers, "client": ("127.0.0.1", 1),
             "server": ("127.0.0.1", 80)}  # fmt: skip
    asyncio.run(app(scope, receive, send))
    assert told[0]["status"] == 413
    assert taken <= 1_000_000 + 2 * 50_000


def test_a_defect_shows_no_inside(site: Site, stores: Stores) -> None:
    client = site()
    # not as the documents are: it has no structures
    stores.campaigns.insert_one({"key": "broken", "query": {}})
    client = TestClient(client.app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    answer = client.get("/campaigns/broken")
    while answer.status_code == 200:
        answer = client.get("/campaigns/broken")
    assert answer.status_code == 500
    assert "defect" in answer.text and "KeyError" not in answer.text
    assert "content-security-policy" in answer.headers


class Clock:
    """Seconds that go on when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("how", ["form", "header"])
def test_the_eleventh_wrong_token_within_a_minute_is_not_looked_at(site: Site, how: str) -> None:
    clock = Clock()
    client = site(token=TOKEN, tries=Tries(clock=clock))

    def give(token: str) -> Response:
        if how == "form":
            return client.post("/login", data={"token": token}, headers=HOME)
        return client.post("/logout", headers={"Authorization": f"Bearer {token}"})

    for i in range(10):
        assert give(f"guess {i}").status_code == 403
        clock.now += 3
    # the right token is refused as well: a guess would be known by its answer otherwise
    for token in ("guess 11", TOKEN):
        answer = give(token)
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "30"  # the first of the ten was 30 s ago
        assert "set-cookie" not in answer.headers and TOKEN not in answer.text
    clock.now += 33  # two of the ten are old now
    assert give(TOKEN).status_code == 303
    for _ in range(20):  # what is right uses up nothing
        assert give(TOKEN).status_code == 303
    assert [give("wrong").status_code for _ in range(3)] == [403, 403, 429]


def test_the_limit_is_the_addresses_own_and_takes_no_memory() -> None:
    clock = Clock()
    tries = Tries(limit=2, seconds=60, clock=clock)
    assert [tries.take("10.0.0.1") for _ in range(3)] == [0, 0, 60]
    assert tries.take("10.0.0.2") == 0
    # a provider gives a customer 2^64 addresses of IPv6, and they are one
    assert [tries.take(f"2001:db8::{i:x}") for i in range(3)] == [0, 0, 60]
    assert tries.take("2001:db8:0:1::1") == 0
    assert tries.take("::ffff:10.0.0.1") == 60
    tracemalloc.start()
    for i in range(5_000):
        tries.take(f"11.{i >> 16}.{i >> 8 & 255}.{i & 255}")
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 10_000


def test_an_address_that_a_client_makes_up_is_not_believed(site: Site) -> None:
    client = site(token=TOKEN)
    for i in range(11):
        made_up = {**HOME, "X-Forwarded-For": f"10.0.0.{i}"}
        answer = client.post("/login", data={"token": "wrong"}, headers=made_up)
        assert answer.status_code == (403 if i < 10 else 429)
