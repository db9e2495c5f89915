"""The log of one training run: every epoch into the database, whatever the database does meanwhile.

An epoch is first appended to a file in the run's folder and forced to the disk; a thread of its own
carries the file's lines into the run's document, in order.  While the database is away the file
grows and the training goes on; when it is back, the rest follows.  A line is written by one atomic
update that asks for the number of epochs before it, so that it arrives exactly once, whether an
acknowledgement was lost, the worker was killed in between, or a resumed run tells its epochs again.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from stores.states import now

if TYPE_CHECKING:
    from collections.abc import Callable

    from stores.collections import Stores

log = logging.getLogger(__name__)

PATIENCE = 3600.0
"""Seconds that a finished run waits for a database that is away."""

RETRY = 2.0
"""Seconds between attempts to reach it."""

T = TypeVar("T")


class LogNotDelivered(RuntimeError):
    """The database stayed away until the end; the run's folder holds what it does not know yet."""


class TakenAway(RuntimeError):
    """The run was given to another worker, which took this one for dead."""


class RunLog:
    """Log of one run, used as a context manager around the training.

    Leaving it waits until the database has everything; leaving it by an exception does not wait.

    Parameters
    ----------
    stores : open database.
    key : of the training-run document.
    directory : folder of the run; the log is its ``log.jsonl``.
    root : data root, to which paths in the document are relative.
    every : seconds between signs of life.
    patience : seconds to wait for the database at the end.
    claim : under which this worker computes the run; with another's, nothing is written.
    """

    FILE = "log.jsonl"

    def __init__(
        self,
        stores: Stores,
        key: str,
        directory: Path,
        root: Path,
        *,
        every: float,
        patience: float = PATIENCE,
        claim: str | None = None,
    ) -> None:
        self.stores, self.key, self.every, self.patience = stores, key, every, patience
        directory.mkdir(parents=True, exist_ok=True)
        self.folder = directory.resolve().relative_to(root.resolve()).as_posix()
        self.path = directory / self.FILE
        self._mine = {"key": key} if claim is None else {"key": key, "claim.run": claim}
        self._taken_away = False
        self._lines = _whole_lines(self.path)
        self._progress: dict[str, Any] = {}
        self._delivered = 0
        self._changed = threading.Condition()
        self._leaving = False
        self._trouble: Exception | None = None
        self._thread = threading.Thread(target=self._carry, name=f"log of {key}", daemon=True)

    # -- the training's side -----------------------------------------------------------------

    def epoch(self, row: dict[str, Any]) -> None:
        """Log an epoch; one that is in the log already changes nothing.

        Parameters
        ----------
        row : of the history; ``files`` names files of the run's folder by what they are, all else
            is a number or None.

        Raises
        ------
        TakenAway
            If the run is another worker's meanwhile.
        """
        self._check()
        if int(row["epoch"]) <= len(self._lines):
            return
        files = {kind: f"{self.folder}/{name}" for kind, name in row.get("files", {}).items()}
        values = {k: float(v) for k, v in row.items() if k != "files" and v is not None}
        line = {"values": values, "files": files}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with self._changed:
            self._lines.append(line)
            self._changed.notify_all()

    def step(self, done: int, total: int, what: str) -> None:
        """Say how far the run is; told to the database with the next sign of life.

        Raises
        ------
        TakenAway
            If the run is another worker's meanwhile.
        """
        self._check()
        self._progress = {"step": done, "of": total, "what": what}

    def _check(self) -> None:
        if self._taken_away:
            raise TakenAway(f"training run {self.key} was given to another worker")

    def __enter__(self) -> Self:
        """Begin carrying; what an earlier worker left in the file goes first."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait until the database has everything, unless an error is on its way.

        Raises
        ------
        LogNotDelivered
            If the database stays away.
        TakenAway
            If the run is another worker's meanwhile.
        """
        with self._changed:
            if kind is None:
                self._changed.wait_for(
                    lambda: self._delivered == len(self._lines) or not self._thread.is_alive(),
                    timeout=self.patience,
                )
            missing = len(self._lines) - self._delivered
            self._leaving = True
            self._changed.notify_all()
        if kind is None:
            self._check()
        if kind is None and missing:
            raise LogNotDelivered(
                f"{missing} epochs of training run {self.key} are in {self.path} but not in the "
                f"database ({self._trouble}); start the run again when it is back"
            )

    # -- the thread's side -------------------------------------------------------------------

    def _carry(self) -> None:
        from pymongo.errors import PyMongoError

        known, beat = False, 0.0
        while True:
            try:
                if not known:
                    self._meet_document()
                    known = True
                while self._delivered < len(self._lines):
                    self._deliver(self._lines[self._delivered])
                if time.monotonic() - beat > self.every:
                    if not self._update(
                        {}, {"$set": {"heartbeat": now(), "progress": self._progress}}
                    ):
                        self._taken_away = True
                        return
                    beat = time.monotonic()
                if self._trouble is not None:
                    log.warning("the database is back; the log of %s is complete", self.key)
                    self._trouble = None
                pause = self.every
            except PyMongoError as error:
                if self._trouble is None:
                    log.warning("the database is away; %s goes on in %s", self.key, self.path)
                self._trouble, pause = error, RETRY
            with self._changed:
                behind = self._delivered < len(self._lines)
                if self._leaving and not (behind and self._trouble is None):
                    return
                if self._trouble is not None or not behind:
                    self._changed.wait(timeout=pause)
                if self._leaving:
                    return

    def _meet_document(self) -> None:
        """Find out what the document has; forget what it has of a folder that was lost."""
        found = self.stores.training_runs.find_one({"key": self.key}, {"epochs": 1})
        told = len((found or {}).get("epochs", []))
        if told > len(self._lines):
            fresh: dict[str, Any] = {"epochs": [], "images": [], "checkpoints": []}
            self._update({}, {"$set": fresh})
            told = 0
        with self._changed:
            self._delivered = told
            self._changed.notify_all()

    def _deliver(self, line: dict[str, Any]) -> None:
        values, files = line["values"], line["files"]
        about = {"epoch": int(values["epoch"]), "step": int(values["step"])}
        push: dict[str, Any] = {"epochs": values}
        if "checkpoint" in files:
            push["checkpoints"] = {**about, "path": files["checkpoint"]}
        if "images" in files:
            push["images"] = {**about, "path": files["images"]}
        # nothing matches if it arrived before and only the acknowledgement was lost
        self._update(
            {"epochs": {"$size": self._delivered}}, {"$push": push, "$set": {"heartbeat": now()}}
        )
        with self._changed:
            self._delivered += 1
            self._changed.notify_all()

    def _update(self, where: dict[str, Any], change: dict[str, Any]) -> bool:
        found = self.stores.training_runs.update_one({**self._mine, **where}, change)
        return found.matched_count == 1


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """Lines of a log; a last one that was cut off by a kill is removed from the file."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return [json.loads(line) for line in whole.splitlines()]


def patiently(action: Callable[[], T], patience: float = PATIENCE) -> T:
    """Do something with the database, again and again while it is away.

    Parameters
    ----------
    action : may be repeated.
    patience : seconds after which its error is raised.
    """
    from pymongo.errors import AutoReconnect, ServerSelectionTimeoutError

    end = time.monotonic() + patience
    while True:
        try:
            return action()
        except (AutoReconnect, ServerSelectionTimeoutError):
            if time.monotonic() > end:
                raise
            time.sleep(RETRY)
