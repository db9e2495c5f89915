"""One worker per simulation, whatever dies and whenever."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stores.collections import Stores
from stores.connect import connect
from stores.documents import (
    Failure,
    FileReference,
    Owner,
    RunDocument,
    SimulationDocument,
)
from stores.janitor import MAX_ATTEMPTS, mark_lost, retry, settle, simulation_values
from stores.owners import is_gone, this_process
from stores.runs import ClaimRefused, claim
from stores.states import State, StateError, now

SHA = "ab" * 32
OLD = timedelta(hours=1)
TIMEOUT = Failure(code=9, name="time-out", message="12 h are over")


def start(stores: Stores, simulation: SimulationDocument, **options: Any) -> Any:
    return claim(
        stores, simulation.key, stage="master pattern", program="p", n_energies=11, **options
    )


def read(stores: Stores, simulation: SimulationDocument) -> SimulationDocument:
    found = stores.get(SimulationDocument, simulation.key)
    assert found is not None
    return found


def read_run(stores: Stores, key: str) -> RunDocument:
    found = stores.get(RunDocument, key)
    assert found is not None
    return found


def make_foreign(stores: Stores, run: Any, *, heartbeat_age: timedelta) -> None:
    """As if the run were on another machine and last heard of a while ago."""
    stores.runs.update_one(
        {"key": run.key},
        {"$set": {"owner.host": "elsewhere", "heartbeat": now() - heartbeat_age}},
    )


class TestLife:
    def test_running_is_written_before_anything_runs(self, stores, make_simulation) -> None:
        simulation = make_simulation()
        run = start(stores, simulation, threads=2, gpu="cuda:0", queue_id="77")
        document = read_run(stores, run.key)
        assert document.state is State.RUNNING
        assert document.owner == this_process()
        assert (document.threads, document.gpu, document.queue_id) == (2, "cuda:0", "77")
        found = read(stores, simulation)
        assert found.state is State.RUNNING
        assert found.claim is not None
        assert found.claim.run == run.key
        assert found.attempts[0].state is State.RUNNING
        assert found.attempts[0].run == run.key

    def test_completed(self, stores, make_simulation) -> None:
        simulation = make_simulation()
        file = FileReference(path="a/b.h5", bytes=3, sha256=SHA)
        with start(stores, simulation) as run:
            run.heartbeat(4, "14 keV")
            assert read(stores, simulation).energies_done == 4
            run.finish("completed", files=[file], energies_done=11, exit_code=0)
        document = read_run(stores, run.key)
        assert document.state is State.COMPLETED
        assert document.files == [file]
        assert (document.energies_done, document.message) == (11, "14 keV")
        assert document.wall_seconds is not None
        assert document.wall_seconds >= 0
        assert document.cpu_seconds is not None
        found = read(stores, simulation)
        assert (found.state, found.claim, found.energies_done) == (State.COMPLETED, None, 11)
        assert found.attempts[0].state is State.COMPLETED

    def test_a_stage_that_is_done_leaves_the_next_to_another_worker(
        self, stores, make_simulation
    ) -> None:
        simulation = make_simulation()
        with claim(stores, simulation.key, stage="monte carlo", program="p") as run:
            run.finish("completed", next_stage="master pattern")
        found = read(stores, simulation)
        assert (found.state, found.stage) == (State.WAITING, "master pattern")
        assert (found.claim, found.energies_done) == (None, 0)
        assert found.attempts[0].state is State.WAITING
        assert found.attempts[0].finished is None
        assert read_run(stores, run.key).next_stage == "master pattern"
        assert mark_lost(stores) == []
        with start(stores, simulation) as other:
            assert other.document.attempt == 1
            other.finish("timed_out", failure=TIMEOUT, energies_done=6)
        found = read(stores, simulation)
        assert (found.state, found.energies_done) == (State.TIMED_OUT, 6)
        assert [a.run for a in found.attempts] == [other.key]

    def test_time_out_is_recorded_as_what_it_is(self, stores, make_simulation) -> None:
        simulation = make_simulation()
        with start(stores, simulation) as run:
            run.heartbeat(6)
            run.finish("timed_out", failure=TIMEOUT, next_action="more time")
        found = read(stores, simulation)
        assert (found.state, found.energies_done, found.next_action) == (
            State.TIMED_OUT,
            6,
            "more time",
        )
        assert (found.attempts[0].failure_code, found.attempts[0].reason) == (9, "12 h are over")
        assert read_run(stores, run.key).failure == TIMEOUT

    def test_an_exception_is_a_failure_with_its_text(self, stores, make_simulation) -> None:
        simulation = make_simulation()
        with pytest.raises(ZeroDivisionError), start(stores, simulation) as run:
            _ = 1 / 0
        failure = read_run(stores, run.key).failure
        assert failure is not None
        assert failure.message == "ZeroDivisionError: division by zero"
        assert "1 / 0" in failure.log_tail
        assert read(stores, simulation).state is State.FAILED

    def test_leaving_without_a_word_is_a_failure(self, stores, make_simulation) -> None:
        simulation = make_simulation()
        with start(stores, simulation) as run:
            pass
        failure = read_run(stores, run.key).failure
        assert failure is not None
        assert "without saying how" in failure.message
        assert read(stores, simulation).state is State.FAILED

    @pytest.mark.parametrize(
        ("state", "failure"), [("failed", None), ("completed", TIMEOUT), ("timed_out", None)]
    )
    def test_bad_ends_and_only_they_have_a_failure(
        self, stores, make_simulation, state, failure
    ) -> None:
        run = start(stores, make_simulation())
        with pytest.raises(ValueError, match="failure"):
            run.finish(state, failure=failure)
        assert read_run(stores, run.key).state is State.RUNNING

    def test_heart_beats_in_the_background(self, stores, make_simulation) -> None:
        simulation = make_simulation()
        with start(stores, simulation, heartbeat=timedelta(seconds=0.02)) as run:
            first = read_run(stores, run.key).heartbeat
            run.note(energies_done=5, message="15 keV")
            deadline = time.monotonic() + 5
            while read_run(stores, run.key).energies_done != 5 and time.monotonic() < deadline:
                time.sleep(0.02)
            beating = read_run(stores, run.key)
            assert (beating.energies_done, beating.message) == (5, "15 keV")
            assert beating.heartbeat > first
            run.finish("completed")
        at_end = read_run(stores, run.key).heartbeat
        time.sleep(0.1)
        assert read_run(stores, run.key).heartbeat == at_end


class TestClaims:
    def test_a_second_worker_is_refused_and_told_who_works(self, stores, make_simulation) -> None:
        simulation = make_simulation()
        start(stores, simulation)
        with pytest.raises(ClaimRefused, match=rf"is running, computed by process {os.getpid()}"):
            start(stores, simulation)
        assert stores.runs.count_documents({}) == 1

    def test_completed_is_never_computed_again(self, stores, make_simulation) -> None:
        simulation = make_simulation()
        with start(stores, simulation) as run:
            run.finish("completed")
        with pytest.raises(ClaimRefused, match="is completed") as error:
            start(stores, simulation)
        assert error.value.actual is State.COMPLETED

    def test_failed_waits_to_be_sent_again(self, stores, make_simulation) -> None:
        simulation = make_simulation()
        with start(stores, simulation) as run:
            run.finish("failed", failure=TIMEOUT)
        with pytest.raises(ClaimRefused, match="is failed; send it again with retry"):
            start(stores, simulation)
        assert retry(stores, simulation.key, reason="more time") == 2
        with start(stores, simulation) as run:
            run.finish("completed")
        found = read(stores, simulation)
        assert [attempt.state for attempt in found.attempts] == [State.FAILED, State.COMPLETED]
        assert [attempt.number for attempt in found.attempts] == [1, 2]
        assert found.attempts[0].run != found.attempts[1].run
        assert read_run(stores, run.key).attempt == 2

    def test_only_what_ended_badly_is_sent_again(self, stores, make_simulation) -> None:
        simulation = make_simulation()
        with pytest.raises(StateError, match="is waiting"):
            retry(stores, simulation.key)
        run = start(stores, simulation)
        with pytest.raises(StateError, match="is running"):
            retry(stores, simulation.key)
        run.finish("completed")
        with pytest.raises(StateError, match="is completed"):
            retry(stores, simulation.key)
        assert len(read(stores, simulation).attempts) == 1

    def test_two_retries_make_one_attempt(self, stores, make_simulation) -> None:
        simulation = make_simulation()
        start(stores, simulation).finish("failed", failure=TIMEOUT)

        def again(_: int) -> bool:
            try:
                retry(stores, simulation.key)
            except StateError:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(again, range(4))) == 1
        assert len(read(stores, simulation).attempts) == 2

    def test_decisions_on_an_old_view_are_refused(
        self, stores, make_simulation, monkeypatch
    ) -> None:
        # somebody retried, and the retry failed too, since this worker looked
        simulation = make_simulation()
        start(stores, simulation).finish("failed", failure=TIMEOUT)
        old_view = simulation_values(stores, simulation.key)
        retry(stores, simulation.key)
        start(stores, simulation).finish("failed", failure=TIMEOUT)
        monkeypatch.setattr("stores.janitor.simulation_values", lambda *a: old_view)
        with pytest.raises(StateError, match="changed meanwhile"):
            retry(stores, simulation.key)
        monkeypatch.undo()
        retry(stores, simulation.key)
        monkeypatch.setattr("stores.runs.simulation_values", lambda *a: old_view)
        with pytest.raises(ClaimRefused):
            start(stores, simulation)
        monkeypatch.undo()
        assert [a.number for a in read(stores, simulation).attempts] == [1, 2, 3]

    def test_unknown_simulation(self, stores) -> None:
        with pytest.raises(StateError, match="no document with the key"):
            claim(stores, "0" * 64, stage="s", program="p")

    def test_processes_share_the_work_without_doing_any_twice(
        self, stores, make_simulation, server_root
    ) -> None:
        keys = [make_simulation(dmin=0.05 + i / 1000).key for i in range(20)]
        context = multiprocessing.get_context("spawn")
        with context.Pool(3) as pool:
            done = pool.starmap(
                _work, [(str(server_root), stores.database.name, keys) for _ in range(3)]
            )
        assert sorted(key for mine in done for key in mine) == sorted(keys)
        assert stores.simulations.count_documents({"state": "completed"}) == 20
        assert stores.runs.count_documents({}) == 20


def _work(root: str, database: str, keys: list[str]) -> list[str]:
    mine = []
    with connect(root=Path(root), database=database) as stores:
        for key in keys:
            try:
                with claim(stores, key, stage="s", program="p") as run:
                    time.sleep(0.005)
                    run.finish("completed")
            except ClaimRefused:
                continue
            mine.append(key)
    return mine


class TestTheDead:
    def test_a_worker_killed_with_sigkill_is_taken_over(
        self, stores, make_simulation, server_root
    ) -> None:
        simulation = make_simulation()
        program = (
            "import sys, time; from pathlib import Path;"
            "from stores.connect import connect; from stores.runs import claim;"
            "stores = connect(root=Path(sys.argv[1]), database=sys.argv[2]);"
            "run = claim(stores, sys.argv[3], stage='s', program='p');"
            "run.heartbeat(7); print(run.key, flush=True); time.sleep(60)"
        )
        worker = subprocess.Popen(
            [sys.executable, "-c", program, server_root, stores.database.name, simulation.key],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert worker.stdout is not None
        dead = worker.stdout.readline().strip()
        with pytest.raises(ClaimRefused, match=f"process {worker.pid}"):
            start(stores, simulation)
        worker.send_signal(signal.SIGKILL)
        time.sleep(0.1)
        # not even waited for yet: a zombie is dead, too
        run = start(stores, simulation)
        worker.communicate()
        lost = read_run(stores, dead)
        assert lost.state is State.LOST
        assert lost.energies_done == 7
        assert lost.failure is not None
        assert "is gone" in lost.failure.message
        found = read(stores, simulation)
        assert [a.state for a in found.attempts] == [State.LOST, State.RUNNING]
        assert found.attempts[0].energies_done == 7
        run.finish("completed")
        assert read(stores, simulation).state is State.COMPLETED

    def test_another_host_is_judged_by_its_heartbeat(self, stores, make_simulation) -> None:
        simulation = make_simulation()
        run = start(stores, simulation)
        make_foreign(stores, run, heartbeat_age=timedelta(minutes=2))
        with pytest.raises(ClaimRefused):
            start(stores, simulation, stale=timedelta(minutes=5))
        second = start(stores, simulation, stale=timedelta(minutes=1))
        assert read_run(stores, run.key).state is State.LOST
        claimed = read(stores, simulation).claim
        assert claimed is not None
        assert claimed.run == second.key

    def test_who_was_given_up_cannot_finish(self, stores, make_simulation) -> None:
        simulation = make_simulation()
        run = start(stores, simulation)
        make_foreign(stores, run, heartbeat_age=OLD)
        second = start(stores, simulation)
        assert not run.heartbeat(3)
        assert run.taken_away.is_set()
        with pytest.raises(StateError, match="is lost"):
            run.finish("completed")
        second.finish("completed")
        assert read_run(stores, run.key).state is State.LOST
        assert [a.state for a in read(stores, simulation).attempts] == ["lost", "completed"]

    def test_leaving_a_run_that_was_taken_away_writes_nothing(
        self, stores, make_simulation
    ) -> None:
        simulation = make_simulation()
        with start(stores, simulation) as run:
            make_foreign(stores, run, heartbeat_age=OLD)
            mark_lost(stores)
            run.heartbeat()
        assert read_run(stores, run.key).state is State.LOST
        assert read(stores, simulation).state is State.WAITING

    def test_the_janitor_finds_the_dead_and_leaves_the_living(
        self, stores, make_simulation
    ) -> None:
        simulations = [make_simulation(dmin=0.05 + i / 1000) for i in range(4)]
        runs = [start(stores, simulation) for simulation in simulations]
        make_foreign(stores, runs[0], heartbeat_age=OLD)
        make_foreign(stores, runs[1], heartbeat_age=timedelta(seconds=1))
        stores.runs.update_one({"key": runs[2].key}, {"$set": {"owner.pid": 2**22 + 1}})
        lost = mark_lost(stores, timedelta(minutes=5))
        assert sorted(lost) == sorted([runs[0].key, runs[2].key])
        assert [read(stores, s).state for s in simulations] == [
            "waiting",
            "running",
            "waiting",
            "running",
        ]
        assert mark_lost(stores, timedelta(minutes=5)) == []
        assert [len(read(stores, s).attempts) for s in simulations] == [2, 1, 2, 1]

    def test_a_heartbeat_in_the_last_moment_saves_a_run(
        self, stores, make_simulation, monkeypatch
    ) -> None:
        simulation = make_simulation()
        run = start(stores, simulation)
        make_foreign(stores, run, heartbeat_age=OLD)
        from stores import janitor

        judged = janitor._death

        def slow_judgement(*arguments: Any) -> str:
            answer = judged(*arguments)
            run.heartbeat(1)
            return answer

        monkeypatch.setattr(janitor, "_death", slow_judgement)
        assert mark_lost(stores) == []
        assert read(stores, simulation).state is State.RUNNING

    def test_lost_too_often_stays_lost_until_asked(self, stores, make_simulation) -> None:
        simulation = make_simulation()
        for attempt in range(1, MAX_ATTEMPTS + 1):
            run = start(stores, simulation)
            make_foreign(stores, run, heartbeat_age=OLD)
            assert mark_lost(stores) == [run.key]
            assert len(read(stores, simulation).attempts) == min(attempt + 1, MAX_ATTEMPTS)
        found = read(stores, simulation)
        assert found.state is State.LOST
        assert "see its runs" in found.next_action
        with pytest.raises(ClaimRefused, match="is lost"):
            start(stores, simulation)
        retry(stores, simulation.key)
        start(stores, simulation).finish("completed")

    @pytest.mark.parametrize("end", ["completed", "failed"])
    def test_death_between_the_two_writes_of_an_end_is_repaired(
        self, stores, make_simulation, monkeypatch, end
    ) -> None:
        simulation = make_simulation()
        run = start(stores, simulation)
        monkeypatch.setattr("stores.runs.settle", lambda *a, **k: False)
        run.finish(end, failure=None if end == "completed" else TIMEOUT)
        monkeypatch.undo()
        assert read(stores, simulation).state is State.RUNNING
        assert mark_lost(stores) == []
        found = read(stores, simulation)
        assert (found.state, found.claim, found.attempts[0].state) == (end, None, end)

    def test_death_between_two_stages_is_repaired(
        self, stores, make_simulation, monkeypatch
    ) -> None:
        simulation = make_simulation()
        run = start(stores, simulation)
        monkeypatch.setattr("stores.runs.settle", lambda *a, **k: False)
        run.finish("completed", next_stage="master pattern")
        monkeypatch.undo()
        assert read(stores, simulation).state is State.RUNNING
        assert mark_lost(stores) == []
        found = read(stores, simulation)
        assert (found.state, found.stage) == (State.WAITING, "master pattern")
        assert (found.claim, len(found.attempts)) == (None, 1)
        start(stores, simulation).finish("completed")
        assert [a.state for a in read(stores, simulation).attempts] == ["completed"]

    def test_death_between_lost_and_waiting_is_repaired(
        self, stores, make_simulation, monkeypatch
    ) -> None:
        simulation = make_simulation()
        run = start(stores, simulation)
        make_foreign(stores, run, heartbeat_age=OLD)
        monkeypatch.setattr("stores.janitor._send_again", lambda *a: None)
        mark_lost(stores)
        monkeypatch.undo()
        assert read(stores, simulation).state is State.LOST
        mark_lost(stores)
        assert read(stores, simulation).state is State.WAITING

    def test_a_claim_whose_run_is_missing_is_freed(self, stores, make_simulation) -> None:
        simulation = make_simulation()
        run = start(stores, simulation)
        stores.runs.delete_one({"key": run.key})
        start(stores, simulation).finish("completed")
        assert [a.state for a in read(stores, simulation).attempts] == ["lost", "completed"]

    def test_an_old_end_does_not_touch_a_new_claim(self, stores, make_simulation) -> None:
        simulation = make_simulation()
        first = start(stores, simulation)
        make_foreign(stores, first, heartbeat_age=OLD)
        second = start(stores, simulation)
        ended = read_run(stores, first.key).model_dump()
        assert not settle(stores, simulation.key, ended)
        claimed = read(stores, simulation).claim
        assert claimed is not None
        assert claimed.run == second.key


class TestOwners:
    def test_this_process_lives(self) -> None:
        assert not is_gone(this_process())

    def test_a_process_that_ended_is_gone(self) -> None:
        with subprocess.Popen(["sleep", "60"]) as child:
            owner = this_process().model_copy(
                update={"pid": child.pid, "pid_started": None},
            )
            assert not is_gone(owner)
            child.kill()
        assert is_gone(owner)

    def test_a_pid_given_to_a_later_process_is_gone(self) -> None:
        assert is_gone(this_process().model_copy(update={"pid_started": "1"}))

    @pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"namespace": "another boot"}])
    def test_what_cannot_be_seen_from_here_is_not_judged(self, change) -> None:
        owner = Owner(**{**this_process().model_dump(), "pid": 2**22 + 1, **change})
        assert not is_gone(owner)
