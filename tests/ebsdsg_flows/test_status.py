"""``ebsdsg status`` follows what happens until Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pexpect
import pytest
from pymongo.errors import AutoReconnect

from ebsdsg_flows import status
from ebsdsg_flows.campaign import load_campaign
from ebsdsg_flows.control import pause
from ebsdsg_flows.status import print_query, print_status
from ebsdsg_flows.submit import submit
from stores.collections import Stores

CAMPAIGN = """
name: watched
structures: {source: demo, materials: [mp-23, mp-149]}
simulation: {parameters: {npx: 5, dmin: 0.1}}
"""


@pytest.fixture
def watched(stores: Stores, tmp_path: Path) -> Stores:
    """Database with a campaign."""
    (tmp_path / "watched.yaml").write_text(CAMPAIGN)
    submit(load_campaign(tmp_path / "watched.yaml"), stores)
    return stores


def test_watching_shows_changes_and_ends_with_ctrl_c(watched: Stores, tmp_path: Path) -> None:
    child = pexpect.spawn(
        sys.executable,
        ["-m", "ebsdsg_flows", "status", "--watch", "--every", "0.5"],
        cwd=str(tmp_path),
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},  # type: ignore[arg-type]
        encoding="utf-8",
        timeout=60,
        # what was started in a shell's background ignores Ctrl-C, and so would its children
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.default_int_handler),
    )
    child.expect("watched: 0 of 2 completed")
    pause(watched, "watched")
    child.expect(r"watched: 0 of 2 completed \(paused\)")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert (child.exitstatus, child.signalstatus) == (0, None)
    assert "Traceback" not in child.before and "error" not in child.before
    assert "\x1b[?25h" in child.before, "the cursor was not given back"
    assert not child.isalive()


def test_a_database_that_is_away_is_waited_for(
    watched: Stores, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = status.status_documents
    asked: list[float] = []

    def sometimes(stores: Stores, campaign: str | None) -> list[dict[str, object]]:
        if len(asked) == 1:
            raise AutoReconnect("mongodb://me:secret@host: connection closed")
        return documents(stores, campaign)

    def wait(seconds: float) -> None:
        asked.append(seconds)
        if len(asked) >= 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(status, "status_documents", sometimes)
    # only here: the driver's threads sleep, too
    monkeypatch.setattr(status, "time", SimpleNamespace(sleep=wait))
    print_status(watched, None, as_json=True, watch=7.0)
    shown = capsys.readouterr()
    told = [json.loads(line) for line in shown.out.splitlines()]
    assert [t["by_state"] for t in told] == [{"waiting": 2}] * 2
    assert "cannot be used at present" in shown.err and "secret" not in shown.err
    assert asked == [7.0] * 3


def test_a_query_that_is_cut_short_says_so(
    watched: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    print_query(watched, "members", "{}", ["material_id"], 1)
    shown = capsys.readouterr()
    assert len([json.loads(line) for line in shown.out.splitlines()]) == 1
    assert shown.err == "1 shown, there are more: --limit\n"
    print_query(watched, "members", "{}", ["material_id"], 2)
    shown = capsys.readouterr()
    assert (len(shown.out.splitlines()), shown.err) == (2, "")
