"""Which process works on a launch of FireWorks.

FireWorks itself keeps only the name in ``my_fworker.yaml``, which all workers share.  Ours put
host, process and queue id into the environment of their FireWorker, which FireWorks stores with
each launch, so that a launch whose process is gone is known at once, without a time-out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.cluster.job import job_id
from stores.documents import Owner
from stores.owners import this_process

if TYPE_CHECKING:
    from fireworks import FWorker, LaunchPad

FIELD = "ebsdsg_process"
WORKER_FILE = "my_fworker.yaml"

_firework: ContextVar[int | None] = ContextVar("firework", default=None)


@dataclass(frozen=True)
class Worker:
    """The process that works on a launch.

    Parameters
    ----------
    owner : host and process.
    queue_id : the queue's job that it belongs to.
    """

    owner: Owner
    queue_id: str | None


def this_worker() -> dict[str, Any]:
    """The calling process as it is stored with a launch."""
    return {"owner": this_process().model_dump(mode="json"), "queue_id": job_id()}


def worker_of(launch: Mapping[str, Any]) -> Worker | None:
    """The process of a launch; ``None`` if that is not known.

    Parameters
    ----------
    launch : document of FireWorks' collection ``launches``, or a projection with ``fworker.env``.
    """
    stored = ((launch.get("fworker") or {}).get("env") or {}).get(FIELD)
    if stored is None:
        return None
    return Worker(Owner.model_validate(stored["owner"]), stored["queue_id"])


def make_fworker(root: Path, file: Path | None = None, name: str = "ebsdsg") -> FWorker:
    """FireWorker of this process.

    Parameters
    ----------
    root : data root; ``my_fworker.yaml`` beside it is used unless a file is named.
    file : name, category and query are taken from it.
    name : where there is no such file.

    Raises
    ------
    FileNotFoundError
        If a named file does not exist.
    """
    from fireworks import FWorker

    if file is None and (root.parent / WORKER_FILE).is_file():
        file = root.parent / WORKER_FILE
    if file is not None and not file.is_file():
        raise FileNotFoundError(f"{file}: no such FireWorker file")
    fworker = FWorker(name) if file is None else FWorker.from_file(str(file))
    fworker.env = {**(fworker.env or {}), FIELD: this_worker()}
    return fworker


@contextmanager
def working_on(launchpad: LaunchPad | None, fw_id: int | None) -> Iterator[None]:
    """Say for the time of a firework that this process works on it, whoever started the process.

    Parameters
    ----------
    launchpad : where the firework is.
    fw_id : its number; ``None`` does nothing, for jobs that run outside FireWorks.
    """
    if launchpad is not None and fw_id is not None:
        # FireWorks' own rlaunch has not said so
        launchpad.launches.update_many(
            {"fw_id": fw_id, "state": "RUNNING", f"fworker.env.{FIELD}": {"$exists": False}},
            {"$set": {f"fworker.env.{FIELD}": this_worker()}},
        )
    token = _firework.set(fw_id)
    try:
        yield
    finally:
        _firework.reset(token)


def current_firework() -> int | None:
    """Number of the firework that this process works on."""
    return _firework.get()
