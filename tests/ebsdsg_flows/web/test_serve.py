"""The command: a server that answers, and one that refuses to start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest


def test_it_refuses_an_open_address_and_a_wrong_path(
    ebsdsg: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    answer = ebsdsg("web", "--host", "0.0.0.0")
    assert answer.returncode == 1
    assert "EBSDSG_WEB_TOKEN" in answer.stderr and "Traceback" not in answer.stderr
    answer = ebsdsg("web", "--root-path", "//evil")
    assert answer.returncode == 1 and "must begin with one slash" in answer.stderr


@pytest.mark.slow
def test_it_serves_behind_a_proxy_and_ends_by_ctrl_c(root: Path, tmp_path: Path) -> None:
    token = "a token that nobody sees"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "ebsdsg_flows", "web", "--port", str(port)]
    command += ["--root-path", "/tools/", "--proxy", "127.0.0.1", "--name", "ebsdsg.example"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "EBSDSG_WEB_TOKEN": token},
        stderr=subprocess.PIPE,
        text=True,
    )
    headers = {"Host": "ebsdsg.example", "X-Forwarded-Proto": "https"}
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
            deadline = time.monotonic() + 120
            while True:
                try:
                    answer = client.get("/structures")
                    break
                except httpx.TransportError:
                    assert process.poll() is None and time.monotonic() < deadline
                    time.sleep(0.2)
            assert answer.status_code == 303
            assert answer.headers["location"] == "/tools/login?back=%2Fstructures"
            assert "server" not in answer.headers
            answer = client.post(
                "/login",
                data={"token": token, "back": "/structures"},
                headers={"Origin": "https://ebsdsg.example"},
            )
            assert answer.headers["location"] == "/tools/structures"
            assert "secure" in answer.headers["set-cookie"].lower()
            assert "Path=/tools" in answer.headers["set-cookie"]
            bearer = {"Authorization": f"Bearer {token}"}
            page = client.get("/structures", headers=bearer)
            assert page.status_code == 200 and 'href="/tools/structures"' in page.text
            other = client.get("/structures", headers={**bearer, "Host": "127.0.0.1"})
            assert other.status_code == 400
            # wrong tokens are counted for the address that the proxy tells, not for the proxy
            for address, statuses in (("10.0.0.1", [403] * 10 + [429]), ("10.0.0.2", [403])):
                wrong = {"Authorization": "Bearer wrong", "X-Forwarded-For": address}
                told = [client.post("/logout", headers=wrong).status_code for _ in statuses]
                assert told == statuses
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert token not in said
    assert "everything needs the token" in said
