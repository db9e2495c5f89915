"""Run the structure builder on the configured database, in several processes, with progress."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import islice
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.builders.entries import label_entries
from ebsdsg_flows.structures import SYMPREC

if TYPE_CHECKING:
    from stores.collections import Stores

BATCH = 50
"""Entries given to a process at a time, and written together."""


@dataclass(frozen=True)
class Built:
    """What a run of the builder did.

    Parameters
    ----------
    entries : of the source, all that the query keeps
    made, unusable : structures written, and entries found unusable, in this run
    wall_seconds, cpu_seconds : of this run; processor time of all its processes
    """

    entries: int
    made: int
    unusable: int
    wall_seconds: float
    cpu_seconds: float

    def __str__(self) -> str:
        tried = self.made + self.unusable
        lines = [
            f"{self.entries} entries: {self.made} structures made, {self.unusable} cannot be used, "
            f"{self.entries - tried} were done before"
        ]
        if tried:
            lines.append(
                f"{self.wall_seconds / 60:.1f} minutes, {self.cpu_seconds:.0f} s of processor "
                f"time, {1000 * self.cpu_seconds / tried:.1f} ms for each entry"
            )
        return "\n".join(lines)


def build_structures(
    stores: Stores,
    *,
    symprec: float = SYMPREC,
    query: dict[str, Any] | None = None,
    retry: bool = False,
    processes: int = 1,
    progress: Callable[[int, int], object] | None = None,
) -> Built:
    """Label all imported entries that are new or have changed.

    Parameters
    ----------
    stores : open database; ``source_structures`` holds the entries
    symprec : tolerance of the symmetry search [Å]
    query : MongoDB condition on the entries
    retry : try what could not be used before, too
    processes : worker processes; 1 works in this one
    progress : called with the number of entries done and the number to do

    Returns
    -------
    What was done.  Interrupted, everything finished is in the database, and the next call does the
    rest.

    Raises
    ------
    ValueError
        If ``processes`` is below 1.
    """
    from ebsdsg_flows.builders.structures import StructureBuilder

    if processes < 1:
        raise ValueError(f"processes = {processes}: at least one is needed")
    wall, cpu = time.monotonic(), _processor_time()
    builder = StructureBuilder(
        stores.store("source_structures"),
        stores.store("structures"),
        stores.store("unusable_structures"),
        symprec=symprec,
        query=query,
        retry=retry,
    )
    made = unusable = 0
    items = builder.get_items()
    work = partial(label_entries, symprec=symprec)
    for results in _results(work, items, processes):
        builder.update_targets(results)
        made += sum("structure" in result for result in results)
        unusable += sum("unusable" in result for result in results)
        if progress is not None:
            progress(made + unusable, builder.total or 0)
    return Built(
        entries=stores.source_structures.count_documents(query or {}),
        made=made,
        unusable=unusable,
        wall_seconds=time.monotonic() - wall,
        cpu_seconds=_processor_time() - cpu,
    )


def _results(
    work: Callable[[list[dict[str, Any]]], list[dict[str, Any]]],
    items: Iterator[dict[str, Any]],
    processes: int,
) -> Iterator[list[dict[str, Any]]]:
    """Batches of results as they come, with no more than two batches waiting for each process."""
    batches = iter(lambda: list(islice(items, BATCH)), [])
    if processes == 1:
        yield from map(work, batches)
        return
    # a forked child would share the open connections of this process
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_leave_interrupts)
    try:
        running: set[Future[list[dict[str, Any]]]] = set()
        for batch in batches:
            running.add(pool.submit(work, batch))
            if len(running) >= 2 * processes:
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in ended)
        while running:
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in ended)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _leave_interrupts() -> None:
    """Ctrl-C is for the process that writes; this one ends when its batch is done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _processor_time() -> float:
    usage = [getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)
