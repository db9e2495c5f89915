"""A supervised program ends, whatever it does, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ebsdsg_flows import leaving
from ebsdsg_flows.engines.base import EngineFailure
from ebsdsg_flows.engines.emsoft.outcome import judge
from ebsdsg_flows.engines.emsoft.supervise import Ended, Limits, run_program

QUICK = Limits(walltime=20, stall=10, grace=0.5)


def run(tmp_path: Path, script: str, limits: Limits = QUICK, **options: object) -> Ended:
    return run_program(
        ["sh", "-c", script],
        folder=tmp_path,
        environment=os.environ,
        log=tmp_path / "log",
        limits=limits,
        **options,  # type: ignore[arg-type]
    )


def alive(marker: str) -> list[int]:
    """Processes that have a marker in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if marker.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def eventually(condition: Callable[[], bool], seconds: float = 15) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


@pytest.fixture
def marker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setenv("SUPERVISED_BY_TEST", str(tmp_path))
    return f"SUPERVISED_BY_TEST={tmp_path}"


def others(marker: str) -> list[int]:
    return [pid for pid in alive(marker) if pid != os.getpid()]


def test_output_is_read_line_by_line_and_need_not_be_utf8(tmp_path: Path) -> None:
    lines: list[str] = []
    ended = run(
        tmp_path, r"printf 'one\n\377two\000\n'; echo three >&2; printf end", on_line=lines.append
    )
    assert lines == ["one", "\ufffdtwo", "three", "end"]
    assert ended.reason == "exited" and ended.exit_code == 0
    assert "three" in ended.output and "\x00" not in ended.output


@pytest.mark.parametrize(
    ("script", "code"), [("exit 3", 3), ("kill -SEGV $$", -11), ("kill -9 $$", -9)]
)
def test_exit_codes_and_signals_come_through(tmp_path: Path, script: str, code: int) -> None:
    ended = run(tmp_path, script)
    assert (ended.reason, ended.exit_code) == ("exited", code)


def test_a_program_that_is_not_there_is_a_failure_of_its_own(tmp_path: Path) -> None:
    ended = run_program(
        ["/nonexistent/EMEBSDmaster"],
        folder=tmp_path,
        environment=os.environ,
        log=tmp_path / "log",
        limits=QUICK,
    )
    with pytest.raises(EngineFailure, match="cannot run") as caught:
        judge("EMEBSDmaster", ended)
    assert caught.value.code == 100


def test_children_of_a_program_that_ended_are_ended(tmp_path: Path, marker: str) -> None:
    ended = run(tmp_path, "sleep 300 & sleep 300 & exit 0")
    assert ended.exit_code == 0
    assert eventually(lambda: not others(marker), 5)


def test_the_time_limit_ends_a_program_that_ignores_sigterm(tmp_path: Path, marker: str) -> None:
    told: list[str] = []
    ended = run(
        tmp_path,
        "trap '' TERM; while :; do sleep 0.05; done",
        Limits(walltime=0.6, stall=10, grace=0.4),
        before_end=told.append,
    )
    assert told == ["walltime"]
    assert ended.reason == "walltime" and ended.killed
    assert not others(marker)
    with pytest.raises(EngineFailure, match="ignored SIGTERM") as caught:
        judge("EMEBSDmaster", ended)
    assert (caught.value.code, caught.value.state) == (150, "timed_out")


def test_a_program_that_does_nothing_has_hung(tmp_path: Path, marker: str) -> None:
    ended = run(tmp_path, "sleep 60", Limits(walltime=30, stall=0.7, grace=0.5))
    assert ended.reason == "stalled" and ended.wall_seconds < 10
    assert not others(marker)
    with pytest.raises(EngineFailure) as caught:
        judge("EMMCOpenCL", ended)
    assert (caught.value.code, caught.value.state) == (152, "failed")


def test_a_busy_program_has_not_hung(tmp_path: Path) -> None:
    script = f"{sys.executable} -S -c 'import time\nt=time.time()\nwhile time.time()<t+1.6: pass'"
    ended = run(tmp_path, script, Limits(walltime=30, stall=0.7, grace=0.5))
    assert ended.reason == "exited" and ended.cpu_seconds > 0.3


def test_an_exception_of_the_listener_ends_the_program(tmp_path: Path, marker: str) -> None:
    def refuse() -> None:
        raise RuntimeError("taken away")

    with pytest.raises(RuntimeError, match="taken away"):
        run(tmp_path, "sleep 60", on_poll=refuse)
    assert not others(marker)


WORKER = """
import os, sys
from pathlib import Path
from ebsdsg_flows.engines.emsoft.supervise import Limits, run_program
from ebsdsg_flows import leaving
folder = Path(sys.argv[1])
def told(reason):
    (folder / "told").write_text(reason + " " + str((folder / "alive").exists()))
run_program(["sh", "-c", sys.argv[2]], folder=folder, environment=os.environ, log=folder / "log",
            limits=Limits(60, 60, 0.5), before_end=told)
leaving.leave()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_survives_the_worker(tmp_path: Path, marker: str, number: int) -> None:
    script = "trap '' TERM; sleep 300 & touch alive; while :; do sleep 0.05; done"
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), script])
    assert eventually((tmp_path / "alive").exists, 60)
    assert len(others(marker)) >= 4
    worker.send_signal(number)
    worker.wait(30)
    assert worker.returncode == -number
    assert eventually(lambda: not others(marker)), others(marker)
    if number == signal.SIGTERM:
        # it was told before the program was ended
        assert (tmp_path / "told").read_text() == "asked to leave True"


def test_sigterm_is_only_remembered_while_a_program_runs() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with leaving.noticing_sigterm():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
    assert not leaving.asked_to_leave()
