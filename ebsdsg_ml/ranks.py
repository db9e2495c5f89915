"""One training on several devices of one machine: this process, and one more for each other device.

The processes are ranks of one group and make the same steps, each with its share of every batch.
Rank 0 is the process that was asked for the training: it alone writes and reports.  The others end
with it, however it ends, and it ends with them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ebsdsg_ml.protocol import TrainingConfigError
from ebsdsg_ml.training_result import TrainingError

if TYPE_CHECKING:
    import torch
    from lightning.pytorch.strategies import Strategy

WAIT = timedelta(minutes=10)
"""Time that ranks wait for each other before they give up."""


@dataclass(frozen=True)
class Rank:
    """One of the processes of a training.

    Parameters
    ----------
    number : from 0.
    of : number of processes.
    """

    number: int = 0
    of: int = 1

    def share(self, rows: np.ndarray) -> np.ndarray:
        """Every `of`-th of some rows, from the one with this rank's number."""
        return rows[self.number :: self.of]

    def total(self, values: torch.Tensor, device: torch.device) -> torch.Tensor:
        """Sum of a tensor over all ranks.

        Parameters
        ----------
        values : of this rank.
        device : of this rank's computation, over which the ranks talk.
        """
        if self.of == 1:
            return values
        import torch.distributed

        shared = values.to(device)
        torch.distributed.all_reduce(shared)
        return shared.to(values.device)

    def strategy(self) -> Strategy | str:
        """Lightning's strategy for this rank."""
        if self.of == 1:
            return "auto"
        from ebsdsg_ml.rank_strategy import RankStrategy

        return RankStrategy(self)


ALONE = Rank()
"""The one process of a training on one device."""


@contextmanager
def group(rank: Rank, meeting: Path, device: str) -> Iterator[None]:
    """Be a member of the group of all ranks.

    Parameters
    ----------
    rank : this process.
    meeting : file through which the ranks find each other; its folder is there, it is not.
    device : ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    TrainingError
        If this process is a member of another group.
    """
    import torch.distributed

    if torch.distributed.is_initialized():
        raise TrainingError("this process takes part in another distributed computation already")
    if device == "cuda":
        torch.cuda.set_device(rank.number)
    torch.distributed.init_process_group(
        "nccl" if device == "cuda" else "gloo",
        init_method=f"file://{meeting}",
        rank=rank.number,
        world_size=rank.of,
        timeout=WAIT,
    )
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


@contextmanager
def all_ranks(devices: int, device: str, task: Mapping[str, Any]) -> Iterator[Rank]:
    """Start the other ranks, and be rank 0 of the group meanwhile.

    Parameters
    ----------
    devices : number of ranks; with one, nothing is started.
    device : ``"cpu"`` or ``"cuda"``.
    task : what the others need to know; see :func:`ebsdsg_ml.training_rank.main`.

    Raises
    ------
    TrainingConfigError
        If there are fewer GPUs than that.
    TrainingError
        If another rank died; the message has its last words.
    """
    if devices == 1:
        yield ALONE
        return
    check_devices(devices, device)
    with tempfile.TemporaryDirectory(prefix="ebsdsg-ranks-") as folder:
        others = [_start(Rank(n, devices), Path(folder), task) for n in range(1, devices)]
        try:
            for number, other in enumerate(others, 1):
                assert other.stdout is not None
                if other.stdout.readline() != b"ready\n":
                    raise _died(number, other, Path(folder))
            try:
                with group(Rank(0, devices), Path(folder) / "meeting", device):
                    yield Rank(0, devices)
            except RuntimeError as error:
                # the connection to a dead rank breaks a moment before its end is seen
                for number, other in enumerate(others, 1):
                    if not isinstance(error, TrainingError) and _ended_badly(other):
                        raise _died(number, other, Path(folder)) from error
                raise
        finally:
            for other in others:
                assert other.stdin is not None and other.stdout is not None
                other.stdin.close()  # told to end
                try:
                    other.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    other.kill()
                    other.wait()
                other.stdout.close()


def check_devices(devices: int, device: str) -> None:
    """Refuse more GPUs than there are, or than the device names.

    Raises
    ------
    TrainingConfigError
        Naming both numbers.
    """
    import torch

    if ":" in device:
        raise TrainingConfigError(
            f"devices = {devices}: the device {device!r} is one; take {device.split(':')[0]!r}"
        )
    present = torch.cuda.device_count()
    if device == "cuda" and devices > present:
        raise TrainingConfigError(f"devices = {devices}: this machine has {present} GPU(s)")


def end_with_rank_0() -> None:
    """End this process, at once, when rank 0 closes the pipe to it or dies."""

    def watch() -> None:
        # not sys.stdin: its lock would be held when this process ends by itself
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, name="end with rank 0", daemon=True).start()


def _start(rank: Rank, folder: Path, task: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    words = {**task, "rank": rank.number, "of": rank.of, "meeting": str(folder / "meeting")}
    path = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    with (folder / f"rank_{rank.number}.txt").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "ebsdsg_ml.training_rank", json.dumps(words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        )


def _ended_badly(other: subprocess.Popen[bytes]) -> bool:
    try:
        return other.wait(timeout=5) != 0
    except subprocess.TimeoutExpired:
        return False


def _died(number: int, other: subprocess.Popen[bytes], folder: Path) -> TrainingError:
    said = (folder / f"rank_{number}.txt").read_text(errors="replace").strip().splitlines()
    code = other.wait(timeout=30)
    last = said[-1] if said else "it said nothing"
    return TrainingError(f"the process of device {number} ended with code {code}: {last}")
