"""Dynamical backscatter intensities for many beam directions.

For every direction the wave inside the crystal is propagated through the depths from which the
Monte Carlo says electrons come back, and weighted with how strongly each site backscatters.
Directions with about equally many strong beams are solved together as one dense batch, so that
nearly all the time is batched matrix multiplication; with an inversion centre large matrices are
multiplied as real symmetric ones.  The absorption
common to all beams is taken out of the matrix and put into the depth weights, which keeps float32
exact enough over the whole depth.

References: P. G. Callahan and M. De Graef, *Microsc. Microanal.* 19 (2013) 1255;
A. Winkelmann, C. Trager-Cowan, F. Sweeney, A. P. Day and P. Parbrook, *Ultramicroscopy* 107 (2007)
414.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ebsdsg_sim.batches import SYMMETRIC_FROM, Batch, batches
from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.memory import MemoryBudgetError, memory_budget
from ebsdsg_sim.propagation import doublings, exponential_powers, waves
from ebsdsg_sim.reflections import Candidates, candidates, select_beams
from ebsdsg_sim.structure_factors import FourierTable, SiteWeights
from ebsdsg_sim.symmetric_exponential import symmetric_exponential_powers

#: Bytes of a batch on a CPU: more falls out of the cache, less pays for the calls.
CACHE = 16 << 20

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
    memory : bytes that may be taken on the device; half of what is free where not given

    Raises
    ------
    MemoryBudgetError
        If the tables and one direction do not fit into that.
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
        memory: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.dtype = COMPLEX[precision]
        self.wavelength = table.wavelength
        self.depth_step = float(depth_step)
        centre = crystal.inversion_centre
        if centre is not None:
            table, weights = table.moved(centre), weights.moved(centre)
        #: Matrices are complex symmetric, weights real.
        self.symmetric = centre is not None and table.centrosymmetric
        self.reflections: Candidates = candidates(crystal, table, dmin, bethe, self.device)
        self._offset = self.reflections.offset.to(torch.int32)
        self._coefficients = self._send(table.coefficients)
        # Conjugated, for the scalar product in `_solve`.
        self._site_weights = [self._send(site.conj()) for site in weights.weights]
        if self.symmetric:
            self._site_weights = [site.real.contiguous() for site in self._site_weights]
        self._last = len(self._coefficients) - 1
        self._origin = self._last // 2
        self._scale = depth_step / (thickness * crystal.n_atoms)
        self._phase = math.pi * table.wavelength * self.depth_step
        self.depth_factors = self._depth_factors(depth_weights, table)
        self._most = self._most_beams()
        self._batch_bytes, self._block_size = self._budget(memory)
        self.radius = self._spectral_radius()

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
        block : most directions whose beams are listed at the same time; as many as the memory
            allows, by default

        Returns
        -------
        intensities : (n, n_sites) float64, in EMsoft's units; summing over sites gives the pattern
        statistics : SolverStatistics
        """
        every = torch.as_tensor(directions, dtype=torch.float64)
        out = torch.zeros(len(every), len(self._site_weights), dtype=torch.float64)
        counts = []
        block = min(block or 1 << 16, self._block_size)
        for start in range(0, len(every), block):
            part = every[start : start + block].to(self.device)
            beams = select_beams(self.reflections, part, self._cells())
            counts.append((beams.n_strong, beams.n_weak))
            done, told = start, time.monotonic()
            found = torch.zeros(len(part), out.shape[1], dtype=torch.float64, device=self.device)
            if len(self.depth_factors):
                for batch in batches(
                    beams, self._offset, self._last + 1, self._real_products, self._batch_size
                ):
                    found[batch.rows] = self._solve(batch)
                    done += len(batch.rows)
                    if progress is not None and time.monotonic() - told > 1:
                        told = time.monotonic()
                        progress(done, len(every))
            out[start : start + block] = found.cpu()
            if progress is not None:
                progress(min(start + block, len(every)), len(every))
        n_strong, n_weak = (
            torch.cat(column).cpu().numpy() if counts else np.zeros(0, dtype=np.int64)
            for column in (zip(*counts, strict=True) if counts else ((), ()))
        )
        return out.numpy(), SolverStatistics(len(every), n_strong, n_weak)

    @property
    def _real_products(self) -> bool:
        """float64, the precision of checks, stays with the general complex products."""
        return self.symmetric and self.dtype == torch.complex64

    def _send(self, array: np.ndarray) -> Tensor:
        """A table, flattened, with a zero before and behind it for what is beyond it."""
        flat = torch.from_numpy(np.ascontiguousarray(array).reshape(-1))
        return torch.nn.functional.pad(flat.to(self.device, self.dtype), (1, 1))

    def _depth_factors(self, depth_weights: np.ndarray, table: FourierTable) -> Tensor:
        """Square roots of the depth weights, with the mean absorption of the wave put back."""
        terms = np.asarray(depth_weights, dtype=float)
        terms = terms[: len(np.trim_zeros(terms, "b"))]
        depth = self.depth_step * np.arange(1, len(terms) + 1)
        decay = np.exp(-2 * np.pi * depth * table.wavelength * table.u0_prime)
        real = torch.float32 if self.dtype == torch.complex64 else torch.float64
        return torch.from_numpy(np.sqrt(terms * decay)).to(self.device, real)

    def _budget(self, memory: int | None) -> tuple[int, int]:
        """Bytes of a batch of matrices, and directions whose beams are listed together."""
        tables = sum(t.nbytes for t in (self._coefficients, *self._site_weights))
        if self.device.type == "cpu":
            tables *= 3  # the double-precision tables they were made from are on the same device
        left = memory_budget(memory, self.device) - tables
        least = self._direction_bytes(self._most, self._most) + 64 * len(self.reflections)
        if left < 2 * least:
            raise MemoryBudgetError(
                f"tables of {tables / 2**20:.0f} MiB and directions of {least / 2**20:.0f} MiB do "
                f"not fit into {memory_budget(memory, self.device) / 2**20:.0f} MiB: allow more "
                "memory, or raise dmin"
            )
        on_cpu = self.device.type == "cpu"
        # Lists hold an index and an error for every beam, and selecting them some copies of that.
        block = left // (4 * 96 * self._most)
        return min(left // 2, CACHE) if on_cpu else left // 2, max(1, block)

    def _most_beams(self) -> int:
        """More strong or weak beams than a direction has: a fifth above the densest seen."""
        g = self.reflections.g
        v = torch.nn.functional.normalize(g[1:64], dim=1)
        beams = select_beams(self.reflections, torch.cat((v, _spread(64).to(v))), self._cells())
        return int(1.2 * max(int(beams.n_strong.max()), int(beams.n_weak.max()))) + 8

    def _cells(self) -> int:
        """Direction-reflection pairs looked at together: what stays in a CPU's cache."""
        return 1 << 18 if self.device.type == "cpu" else 1 << 24

    def _batch_size(self, n: int, n_weak: int) -> int:
        return max(1, self._batch_bytes // self._direction_bytes(n, n_weak))

    def _direction_bytes(self, n: int, n_weak: int) -> int:
        """Memory of one direction of a batch at its fullest."""
        size = 8 if self.dtype == torch.complex64 else 16
        matrices = (8 + 8 * size) * n * n
        return matrices + (8 + 3 * size) * n * n_weak + 3 * size * n * len(self.depth_factors)

    def _spectral_radius(self) -> float:
        """Of one depth step, with a margin: what the polynomial of the exponential must cover.

        Measured by power iteration on directions all over the sphere and the densest zones.  The
        excitation errors decide it, and they reach the same limit in every direction.
        """
        bound = 2 * self.reflections.strong / self.wavelength
        v = torch.nn.functional.normalize(self.reflections.g[1:9], dim=1)
        beams = select_beams(self.reflections, torch.cat((v, _spread(16).to(v))), self._cells())
        for batch in batches(beams, self._offset, self._last + 1, False, self._batch_size):
            matrix = self._dynamical_matrix(self._index(batch), batch)
            x = torch.ones(*matrix.shape[:2], 1, dtype=self.dtype, device=self.device)
            for _ in range(30):
                x = torch.nn.functional.normalize(matrix @ x, dim=1)
            bound = max(bound, float((matrix @ x).norm(dim=1).max()))
        return 1.05 * self._phase * bound

    def _index(self, batch: Batch) -> Tensor:
        """Places (b n n,) in the tables of h - g for row g and column h."""
        rows = batch.strong
        return ((rows + self._origin)[:, None, :] - rows[:, :, None]).clamp_(0, self._last).view(-1)

    def _solve(self, batch: Batch) -> Tensor:
        """(b, n_sites) intensities of a batch."""
        b, n = batch.strong.shape
        n_terms = len(self.depth_factors)
        index = self._index(batch)
        matrix = self._dynamical_matrix(index, batch).mul_(1j * self._phase)
        exponential = (
            symmetric_exponential_powers
            if self._real_products and n >= SYMMETRIC_FROM
            else exponential_powers
        )
        psi = waves(exponential(matrix, self.radius, doublings(n, n_terms)), n_terms)
        density = self._density(psi)
        out = torch.empty(b, len(self._site_weights), dtype=torch.float64, device=self.device)
        for number, weights in enumerate(self._site_weights):
            # Re sum(rho S) is the scalar product of rho and the conjugate of S as real vectors.
            seen = weights.index_select(0, index)
            seen = (torch.view_as_real(seen) if seen.is_complex() else seen).view(b, -1)
            out[:, number] = torch.linalg.vecdot(density, seen)
        return out * self._scale

    def _density(self, psi: Tensor) -> Tensor:
        """Depth-weighted sum of conj(psi_g) psi_h from `waves`.

        (b, n n) real parts; without an inversion centre (b, 2 n n), imaginary parts beside them.
        """
        blocks, b, width, n = psi.shape
        factors = torch.nn.functional.pad(
            self.depth_factors, (0, blocks * width - len(self.depth_factors))
        )
        if not self.symmetric:
            rows = (psi * factors.view(blocks, 1, width, 1)).transpose(0, 1)
            rows = rows.reshape(b, blocks * width, n)
            return torch.view_as_real(torch.bmm(rows.mH, rows)).view(b, -1)
        parts = torch.view_as_real(psi).permute(4, 1, 0, 2, 3)
        flat = torch.empty(b, 2, blocks, width, n, dtype=parts.dtype, device=self.device)
        for part in (0, 1):
            torch.mul(parts[part], factors.view(blocks, width, 1), out=flat[:, part])
        flat = flat.view(b, -1, n)
        return torch.bmm(flat.mT, flat).view(b, -1)

    def _dynamical_matrix(self, index: Tensor, batch: Batch) -> Tensor:
        """Transposed dynamical matrices (b, n, n) [1/nm^2], without the mean absorption i U'_0.

        In row h and column g: U_{g-h} - (lambda/2) sum_w U_{g-w} U_{w-h}/s_w; on the diagonal
        2 s_g/lambda - (lambda/2) sum_w |U_{g-w}|^2/s_w.
        """
        half = self.wavelength / 2
        (b, n), n_weak = batch.strong.shape, batch.weak.shape[1]
        matrix = self._coefficients.index_select(0, index).view(b, n, n)
        diagonal = batch.strong_errors / half
        if n_weak:
            scale = (batch.weak_inverse * -half).to(self.depth_factors.dtype)[:, None, :]
            from_weak = self._look_up(batch.strong[:, :, None] - batch.weak[:, None, :])
            scaled = from_weak * scale
            diagonal = diagonal + torch.linalg.vecdot(from_weak, scaled).real
            if not self.symmetric:
                scaled = self._look_up(batch.weak[:, None, :] - batch.strong[:, :, None]) * scale
            matrix.baddbmm_(scaled, from_weak.mT)
        matrix.diagonal(dim1=1, dim2=2).copy_(diagonal)
        return matrix

    def _look_up(self, difference: Tensor) -> Tensor:
        """Coefficients at differences of places."""
        index = (difference + self._origin).clamp_(0, self._last)
        return self._coefficients.index_select(0, index.view(-1)).view(index.shape)


def _spread(n: int) -> Tensor:
    """(n, 3) unit vectors spread evenly over the sphere (Fibonacci)."""
    i = torch.arange(n, dtype=torch.float64) + 0.5
    z, turn = 1 - 2 * i / n, i * math.pi * (1 + math.sqrt(5))
    ring = (1 - z * z).sqrt()
    return torch.stack((ring * turn.cos(), ring * turn.sin(), z), dim=1)
