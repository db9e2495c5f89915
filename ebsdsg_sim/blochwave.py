"""Dynamical backscatter intensities for many beam directions.

For every direction the wave inside the crystal is propagated through the depths from which the
Monte Carlo says electrons come back, and weighted with how strongly each site backscatters.
Directions with equally many strong beams are solved together as one dense batch, so that there is
no padding of the matrices and nearly all the time is batched matrix multiplication.  The absorption
common to all beams is taken out of the matrix and put into the depth weights, which keeps float32
exact enough over the whole depth.

References: P. G. Callahan and M. De Graef, *Microsc. Microanal.* 19 (2013) 1255;
A. Winkelmann, C. Trager-Cowan, F. Sweeney, A. P. Day and P. Parbrook, *Ultramicroscopy* 107 (2007)
414.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.propagation import exponential_powers, waves
from ebsdsg_sim.reflections import BeamLists, Candidates, candidates, select_beams
from ebsdsg_sim.structure_factors import FourierTable, SiteWeights

COMPLEX = {"float32": torch.complex64, "float64": torch.complex128}


@dataclass(frozen=True)
class SolverStatistics:
    """What a solve amounted to.

    Parameters
    ----------
    n_directions : directions solved
    n_strong, n_weak : (n_directions,) beams of each direction
    """

    n_directions: int
    n_strong: np.ndarray
    n_weak: np.ndarray

    @property
    def mean_strong(self) -> float:
        """Mean number of strong beams, 000 included."""
        return float(self.n_strong.mean())

    @property
    def mean_weak(self) -> float:
        """Mean number of weak beams."""
        return float(self.n_weak.mean())


class BlochWaveSolver:
    """Intensities of one crystal at one energy, for any directions.

    Parameters
    ----------
    crystal : the crystal
    table : its Fourier coefficients at this energy
    weights : its site weights
    depth_weights : (n_terms,) weights of the depths 1, 2, ... steps, normal absorption taken out
        (EMsoft's lambdaE of this energy)
    depth_step : distance of two depths [nm]
    thickness : integration depth by which the sum is divided [nm]
    dmin : smallest spacing [nm]
    bethe : cut-offs c1, c2, c3
    device : "cpu", "cuda", ...
    precision : "float32" or "float64"
    batch_bytes : memory of one batch of directions; by default what stays in a CPU's cache, or a
        quarter of a GPU's free memory
    """

    def __init__(
        self,
        crystal: Crystal,
        table: FourierTable,
        weights: SiteWeights,
        depth_weights: np.ndarray,
        depth_step: float,
        thickness: float,
        *,
        dmin: float,
        bethe: tuple[float, float, float],
        device: torch.device | str = "cpu",
        precision: str = "float32",
        batch_bytes: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.dtype = COMPLEX[precision]
        self.wavelength = table.wavelength
        self.depth_step = float(depth_step)
        self.batch_bytes = batch_bytes or _default_batch_bytes(self.device)
        self.reflections: Candidates = candidates(crystal, table, dmin, bethe, self.device)
        # Beyond the difference of any two candidates nothing is looked up, so a flat table does.
        self._coefficients = self._send(table.coefficients.reshape(-1))
        self._symmetric = table.centrosymmetric
        # Conjugated, for the scalar product in `_solve`.
        self._site_weights = [self._send(site.conj().reshape(-1)) for site in weights.weights]
        self._origin = self._coefficients.numel() // 2
        self._scale = depth_step / (thickness * crystal.n_atoms)
        self._phase = math.pi * table.wavelength * self.depth_step
        self._coupling = _largest_coupling(self._coefficients, self._origin)
        self.depth_factors = self._depth_factors(depth_weights, table)

    def intensities(
        self,
        directions: np.ndarray | Tensor,
        progress: Callable[[int, int], None] | None = None,
        block: int | None = None,
    ) -> tuple[np.ndarray, SolverStatistics]:
        """Backscatter intensity of every direction and site.

        Parameters
        ----------
        directions : (n, 3) unit vectors of the beam, Cartesian crystal frame (the direction of a
            map's node)
        progress : called with (directions done, directions in all) after each block and every
            second
        block : directions whose beams are listed at the same time; more on a GPU, by default

        Returns
        -------
        intensities : (n, n_sites) float64, in EMsoft's units; summing over sites gives the pattern
        statistics : SolverStatistics
        """
        every = torch.as_tensor(directions, dtype=torch.float64, device=self.device)
        out = torch.zeros(
            len(every), len(self._site_weights), dtype=torch.float64, device=self.device
        )
        counts = []
        on_gpu = self.device.type == "cuda"
        block = block or (65536 if on_gpu else 4096)
        for start in range(0, len(every), block):
            part = every[start : start + block]
            beams = select_beams(self.reflections, part, 1 << 26 if on_gpu else 1 << 18)
            counts.append((beams.n_strong, beams.n_weak))
            done, told = start, time.monotonic()
            for rows, strong, weak in self._batches(beams) if len(self.depth_factors) else ():
                out[start + rows] = self._solve(*strong, *weak)
                done += len(rows)
                if progress is not None and time.monotonic() - told > 1:
                    told = time.monotonic()
                    progress(done, len(every))
            if progress is not None:
                progress(min(start + block, len(every)), len(every))
        n_strong, n_weak = (
            torch.cat(column).cpu().numpy() if counts else np.zeros(0, dtype=np.int64)
            for column in (zip(*counts, strict=True) if counts else ((), ()))
        )
        return out.cpu().numpy(), SolverStatistics(len(every), n_strong, n_weak)

    def _send(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, self.dtype)

    def _depth_factors(self, depth_weights: np.ndarray, table: FourierTable) -> Tensor:
        """Square roots of the depth weights, with the mean absorption of the wave put back."""
        terms = np.asarray(depth_weights, dtype=float)
        terms = terms[: len(np.trim_zeros(terms, "b"))]
        depth = self.depth_step * np.arange(1, len(terms) + 1)
        decay = np.exp(-2 * np.pi * depth * table.wavelength * table.u0_prime)
        return self._send(np.sqrt(terms * decay))

    def _batches(
        self, beams: BeamLists
    ) -> Iterator[tuple[Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]]:
        """Batches of directions with equally many strong beams.

        Yields rows, (strong beams (b, n), their s_g), (weak beams (b, w), their 1/s_g, 0 for
        padding).
        """
        strong_start = beams.n_strong.cumsum(0) - beams.n_strong
        weak_start = beams.n_weak.cumsum(0) - beams.n_weak
        order = torch.argsort(beams.n_strong * (int(beams.n_weak.max()) + 1) + beams.n_weak)
        sizes, lengths = torch.unique_consecutive(beams.n_strong[order], return_counts=True)
        inverse = 1 / beams.weak_errors
        position = 0
        for n, length in zip(sizes.tolist(), lengths.tolist(), strict=True):
            group = order[position : position + length]
            position += length
            widest = int(beams.n_weak[group[-1]])
            for rows in group.split(self._batch_size(n, widest)):
                place = strong_start[rows, None] + torch.arange(n, device=self.device)
                strong = beams.strong[place], beams.strong_errors[place]
                widest = int(beams.n_weak[rows[-1]])
                column = torch.arange(widest, device=self.device)
                filled = column < beams.n_weak[rows, None]
                place = torch.where(filled, weak_start[rows, None] + column, 0)
                if widest:
                    weak = beams.weak[place], torch.where(filled, inverse[place], 0.0)
                else:
                    weak = place, place.to(torch.float64)
                yield rows, strong, weak

    def _batch_size(self, n: int, n_weak: int) -> int:
        size = 8 if self.dtype == torch.complex64 else 16
        matrices = (8 + size * 8) * n * n
        bethe = (8 + 3 * size) * n * n_weak
        columns = 2 * size * n * len(self.depth_factors)
        return max(1, self.batch_bytes // (matrices + bethe + columns))

    def _solve(
        self, strong: Tensor, strong_errors: Tensor, weak: Tensor, weak_inverse: Tensor
    ) -> Tensor:
        """(b, n_sites) intensities of a batch; arguments as `_batches` yields them."""
        offset = self.reflections.offset
        rows = offset[strong]
        b, n = rows.shape
        index = ((rows + self._origin)[:, :, None] - rows[:, None, :]).view(-1)
        matrix = self._dynamical_matrix(index, rows, strong_errors, offset[weak], weak_inverse)
        n_terms = len(self.depth_factors)
        powers = exponential_powers(
            matrix.mul_(1j * self._phase), self._norm_bound(n), _doublings(n, n_terms)
        )
        psi = waves(powers, n_terms).mul_(self.depth_factors)
        density = torch.view_as_real(torch.bmm(psi, psi.mH)).view(b, 1, -1)
        out = torch.empty(b, len(self._site_weights), dtype=torch.float64, device=self.device)
        for number, weights in enumerate(self._site_weights):
            # Re sum(rho S) is the scalar product of rho and the conjugate of S as real vectors.
            seen = torch.view_as_real(weights.index_select(0, index)).view(b, -1, 1)
            out[:, number] = torch.bmm(density, seen)[:, 0, 0]
        return out * self._scale

    def _norm_bound(self, n: int) -> float:
        """Bound of the 1-norm of one depth step of n strong beams.

        Strong beams have |s_g| below the cut-off, and the couplings in one column are different
        Fourier coefficients, so their sum is at most that of the n - 1 largest.  The Bethe terms
        are of second order and within the margin of the polynomial.
        """
        couplings = float(self._coupling[: n - 1].sum())
        return self._phase * (2 * self.reflections.strong / self.wavelength + couplings)

    def _dynamical_matrix(
        self,
        index: Tensor,
        rows: Tensor,
        strong_errors: Tensor,
        weak: Tensor,
        weak_inverse: Tensor,
    ) -> Tensor:
        """Dynamical matrices (b, n, n) [1/nm^2], without the mean absorption i U'_0.

        Off the diagonal U_{g-h} - (lambda/2) sum_w U_{g-w} U_{w-h}/s_w; on it
        2 s_g/lambda - (lambda/2) sum_w |U_{g-w}|^2/s_w.
        """
        half = self.wavelength / 2
        (b, n), n_weak = rows.shape, weak.shape[1]
        matrix = self._coefficients.index_select(0, index).view(b, n, n)
        diagonal = strong_errors / half
        if n_weak:
            to_weak = self._look_up(rows, weak)
            from_weak = to_weak.mT if self._symmetric else self._look_up(weak, rows)
            scaled = (weak_inverse * -half).to(torch.view_as_real(to_weak).dtype)
            matrix = torch.baddbmm(matrix, to_weak * scaled[:, None, :], from_weak)
            squares = torch.view_as_real(to_weak).square().view(b, n, 2 * n_weak)
            pairs = scaled.repeat_interleave(2, dim=1)
            diagonal = diagonal + torch.bmm(squares, pairs[:, :, None])[:, :, 0]
        matrix.diagonal(dim1=1, dim2=2).copy_(diagonal)
        return matrix

    def _look_up(self, first: Tensor, second: Tensor) -> Tensor:
        """Coefficients (b, n, m) of the differences of offsets (b, n) and (b, m)."""
        index = (first + self._origin)[:, :, None] - second[:, None, :]
        return self._coefficients.index_select(0, index.view(-1)).view(index.shape)


def _doublings(n: int, n_terms: int) -> int:
    """Squarings beyond P worth their cost: blocks of 8 depths for small matrices."""
    return min(3, max(0, (n_terms - 1).bit_length() - 1)) if n < 200 else 2


def _largest_coupling(coefficients: Tensor, origin: int, most: int = 2048) -> Tensor:
    """Largest |U_g|, descending, without U_0: 2048 of them, more than any strong-beam count."""
    sizes = coefficients.abs()
    sizes[origin] = 0
    return torch.topk(sizes, min(most, len(sizes))).values.to(torch.float64).cpu()


def _default_batch_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) // 4
    return 16 << 20
