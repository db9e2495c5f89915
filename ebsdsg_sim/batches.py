"""Directions gathered into dense batches of equally many beams.

Directions are sorted by their number of strong beams, rounded up to the multiple that the matrix
products like; what a direction lacks is filled with beams that couple to nothing.  Weak beams are
padded to the most in the batch, with a vanishing influence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ebsdsg_sim.reflections import BeamLists

#: From this many strong beams on, matrices of centrosymmetric crystals are multiplied as real ones.
SYMMETRIC_FROM = 80


@dataclass(frozen=True, eq=False)
class Batch:
    """Directions whose dynamical matrices are solved together.

    Parameters
    ----------
    rows : (b,) their places in the beam lists
    strong : (b, n) int32 places of the strong beams in the flat Fourier table, relative to 000;
        the differences of filling beams with each other and with all others are beyond the table
    strong_errors : (b, n) float64 s_g [1/nm]; 0 for filling beams
    weak : (b, w) int32 places of the weak beams
    weak_inverse : (b, w) float64 1/s_g [nm]; 0 for filling beams
    """

    rows: Tensor
    strong: Tensor
    strong_errors: Tensor
    weak: Tensor
    weak_inverse: Tensor


def rounded(n: Tensor, symmetric: bool) -> Tensor:
    """Matrix size used for n strong beams: a multiple of 4, or of 8 for real products."""
    fours = (n + 3) // 4 * 4
    return torch.where(n > SYMMETRIC_FROM - 8, (n + 7) // 8 * 8, fours) if symmetric else fours


def batches(
    beams: BeamLists,
    offset: Tensor,
    beyond: int,
    symmetric: bool,
    size: Callable[[int, int], int],
) -> Iterator[Batch]:
    """Batches that together hold every direction once.

    Parameters
    ----------
    beams : strong and weak beams of the directions
    offset : (n_candidates,) int32 places of the candidates in the flat Fourier table
    beyond : a distance beyond that table
    symmetric : the crystal's matrices are symmetric (`rounded`)
    size : (strong beams, weak beams) -> directions in a batch
    """
    device = beams.n_strong.device
    strong_start = beams.n_strong.cumsum(0) - beams.n_strong
    weak_start = beams.n_weak.cumsum(0) - beams.n_weak
    places, weak_places = offset[beams.strong], offset[beams.weak]
    inverse = 1 / beams.weak_errors
    n_padded = rounded(beams.n_strong, symmetric)
    order = torch.argsort(n_padded * (int(beams.n_weak.max()) + 1) + beams.n_weak)
    sizes, lengths = torch.unique_consecutive(n_padded[order], return_counts=True)
    position = 0
    for n, length in zip(sizes.tolist(), lengths.tolist(), strict=True):
        group = order[position : position + length]
        position += length
        column = torch.arange(n, device=device)
        filling = (n - column).to(torch.int32) * beyond
        for rows in group.split(size(n, int(beams.n_weak[group[-1]]))):
            real = column < beams.n_strong[rows, None]
            at = torch.where(real, strong_start[rows, None] + column, 0)
            widest = int(beams.n_weak[rows[-1]])
            weak_column = torch.arange(widest, device=device)
            weak_real = weak_column < beams.n_weak[rows, None]
            weak_at = torch.where(weak_real, weak_start[rows, None] + weak_column, 0)
            yield Batch(
                rows=rows,
                strong=torch.where(real, _take(places, at), filling),
                strong_errors=torch.where(real, _take(beams.strong_errors, at), 0.0),
                weak=_take(weak_places, weak_at),
                weak_inverse=torch.where(weak_real, _take(inverse, weak_at), 0.0),
            )


def _take(values: Tensor, at: Tensor) -> Tensor:
    if at.numel() == 0:
        return values.new_zeros(at.shape)
    return values.index_select(0, at.view(-1)).view(at.shape)
