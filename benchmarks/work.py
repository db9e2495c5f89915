"""Floating-point work and bytes of every stage of the solver, counted and set against the clock.

Additions and multiplications of real numbers count one each.  Bytes are those of the operands and
results of each operation once, as if no cache held them from one operation to the next.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from ebsdsg_sim import blochwave
from ebsdsg_sim.batches import SYMMETRIC_FROM, rounded
from ebsdsg_sim.blochwave import BlochWaveSolver, SolverStatistics
from ebsdsg_sim.propagation import CHEBYSHEV, doublings, halvings
from ebsdsg_sim.symmetric_exponential import RADIUS

STAGES = ("selection", "matrix", "exponential", "waves", "density and sites")


def work(solver: BlochWaveSolver, solved: SolverStatistics) -> dict[str, dict[str, float]]:
    """Floating-point operations ("flop") and bytes ("bytes") per direction of every stage.

    Matrices are counted at the size they are computed with (filling beams included).
    """
    depths, sites = len(solver.depth_factors), len(solver._site_weights)
    symmetric = solver._real_products
    sizes = rounded(torch.from_numpy(solved.n_strong), symmetric).numpy()
    totals = {stage: Counter() for stage in STAGES}
    pairs, counts = np.unique(np.stack((sizes, solved.n_weak)), axis=1, return_counts=True)
    for (n, w), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        real = symmetric and n >= SYMMETRIC_FROM
        squarings = halvings(solver.radius, RADIUS if real else CHEBYSHEV.radius)
        width = doublings(n, depths)
        products = 3 + squarings + width
        steps = -(-depths // 2**width) * 2**width
        square, step = n * n, steps * n
        one = {
            "selection": (6 * len(solver.reflections), 26 * len(solver.reflections)),
            "matrix": (8 * square * w + 12 * n * w, 52 * square + 60 * n * w),
            "exponential": (
                products * n**3 * (4 if real else 8) + products * square * (12 if real else 4),
                products * square * (72 if real else 24) + 120 * square,
            ),
            "waves": (8 * n * step, 8 * square * steps / 2**width + 16 * step),
            "density and sites": (
                (4 if solver.symmetric else 8) * n * step + 2 * square * sites,
                (20 * step + 4 * square) + sites * 16 * square,
            ),
        }
        for stage, (flop, size) in one.items():
            totals[stage]["flop"] += flop * count
            totals[stage]["bytes"] += size * count
    n = max(1, solved.n_directions)
    return {s: {key: totals[s][key] / n for key in ("flop", "bytes")} for s in STAGES}


@contextmanager
def stage_clock() -> Iterator[Counter]:
    """CPU seconds of the stages while the context is open (one thread, CPU device)."""
    seconds: Counter = Counter()

    def timed(stage: str, function: Callable) -> Callable:
        def call(*arguments: Any, **options: Any) -> Any:
            start = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                seconds[stage] += time.process_time() - start

        return call

    solver = BlochWaveSolver
    with (
        patch.object(blochwave, "select_beams", timed("selection", blochwave.select_beams)),
        patch.object(solver, "_index", timed("matrix", solver._index)),
        patch.object(solver, "_dynamical_matrix", timed("matrix", solver._dynamical_matrix)),
        patch.object(
            blochwave, "exponential_powers", timed("exponential", blochwave.exponential_powers)
        ),
        patch.object(
            blochwave,
            "symmetric_exponential_powers",
            timed("exponential", blochwave.symmetric_exponential_powers),
        ),
        patch.object(blochwave, "waves", timed("waves", blochwave.waves)),
        patch.object(solver, "_solve", timed("solve", solver._solve)),
    ):
        yield seconds
    inner = sum(seconds[stage] for stage in ("matrix", "exponential", "waves"))
    seconds["density and sites"] = seconds.pop("solve", 0.0) - inner


def multiplication_rate(device: torch.device, dtype: torch.dtype, size: int = 1024) -> float:
    """Floating-point operations per second of a plain product of two size x size matrices.

    On a CPU per second of processor time, so that other programs do not count.
    """
    on_gpu = device.type == "cuda"
    size = size * 8 if on_gpu else size
    a = torch.randn(size, size, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter() if on_gpu else time.process_time()
        torch.mm(a, a)
        if on_gpu:
            torch.cuda.synchronize()
        best = min(best, (time.perf_counter() if on_gpu else time.process_time()) - start)
    return (8 if dtype.is_complex else 2) * size**3 / best
