"""Several workers at one simulation: it is computed once, and its bad end is everybody's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from waiting_simulation import waiting_simulation

from ebsdsg_flows import attempts
from ebsdsg_flows.attempts import SimulationFailed
from ebsdsg_flows.engines import BuiltinEngine
from ebsdsg_flows.engines.base import EngineFailure, EngineResult
from ebsdsg_flows.runstate import run_monte_carlo, run_simulation
from ebsdsg_sim.parameters import SimulationParameters
from stores.collections import Stores
from stores.documents import Failure, SimulationDocument
from stores.runs import claim, retry
from stores.states import State


class GivesUp(BuiltinEngine):
    """Fails as an engine does that would fail again, when it is told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.begun, self.go_on = threading.Event(), threading.Event()

    def simulate(self, *arguments: Any, **options: Any) -> EngineResult:
        self.calls += 1
        self.begun.set()
        assert self.go_on.wait(30)
        raise EngineFailure(25, "bad", "it fails", next_action="give up: it would fail again")

    def compute_monte_carlo(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        self.simulate()
        return {}


@pytest.fixture
def key(stores: Stores) -> str:
    return waiting_simulation(stores).key


def numbers(stores: Stores, key: str) -> list[int]:
    found = stores.get(SimulationDocument, key)
    assert found is not None
    return [attempt.number for attempt in found.attempts]


@pytest.mark.parametrize("compute", [run_simulation, run_monte_carlo])
def test_who_waits_for_an_attempt_does_not_repeat_what_failed(
    stores: Stores, key: str, monkeypatch: pytest.MonkeyPatch, compute: Callable[..., Any]
) -> None:
    engine = GivesUp()
    ends: list[str] = []
    refused = threading.Semaphore(0)
    waits = attempts.claim

    def watched(*arguments: Any, **options: Any) -> Any:
        try:
            return waits(*arguments, **options)
        except Exception:
            refused.release()
            raise

    monkeypatch.setattr(attempts, "claim", watched)

    def work() -> None:
        try:
            compute(stores, key, engine, SimulationParameters())
        except SimulationFailed as error:
            ends.append(error.key)

    workers = [threading.Thread(target=work) for _ in range(3)]
    workers[0].start()
    assert engine.begun.wait(30)
    for worker in workers[1:]:
        worker.start()
    assert refused.acquire(timeout=30) and refused.acquire(timeout=30), "two wait for the first"
    engine.go_on.set()
    for worker in workers:
        worker.join(30)
    assert ends == [key] * 3
    assert engine.calls == 1 and numbers(stores, key) == [1]

    # a person sends its firework again: a new attempt
    work()
    assert engine.calls == 2 and numbers(stores, key) == [1, 2]


def test_somebody_else_may_send_it_again_first(
    stores: Stores, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = Failure(code=10, name="engine failed", message="it failed")
    run = claim(stores, key, stage="master pattern", program="p")
    run.finish(State.FAILED, failure=failure)

    def too_late(*arguments: Any, **options: Any) -> int:
        retry(stores, key, reason="the janitor was faster")
        return retry(*arguments, **options)

    monkeypatch.setattr(attempts, "retry", too_late)
    engine = GivesUp()
    engine.go_on.set()
    with pytest.raises(SimulationFailed, match="it fails"):
        run_simulation(stores, key, engine, SimulationParameters())
    assert engine.calls == 1 and numbers(stores, key) == [1, 2]


def test_a_run_that_was_taken_away_stops_its_engine(stores: Stores, key: str) -> None:
    class Endless(GivesUp):
        def simulate(
            self, crystal: Any, parameters: Any, path: Any, progress: Any, *more: Any
        ) -> Any:
            for _ in range(600):
                progress("energies", 0, 1)
                stores.runs.update_many({}, {"$set": {"state": "failed"}})  # as `cancel` does
                time.sleep(0.05)

    with pytest.raises(SimulationFailed, match="was given to another worker") as ended:
        run_simulation(stores, key, Endless(), SimulationParameters())
    assert ended.value.key == key and ended.value.__cause__ is None
