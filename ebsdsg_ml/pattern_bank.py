"""Patterns made on the fly: prepared maps of master patterns, a new orientation for every pattern.

A data set of the generation ``fresh`` holds no image.  It holds what a projector interpolates, all
energies of a master pattern combined for the recipe's detector, as 16-bit numbers: a hundredth of
the master pattern.  A pattern follows from the recipe's seed, its phase and number, and the epoch;
the batch that it is in, the order and the process do not matter (but for the rounding of sums: now
and then a grey level in a pixel).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from ebsdsg_ml.dataset_file import open_dataset
from ebsdsg_ml.dataset_plan import PlannedPhase
from ebsdsg_ml.orientations import pattern_indices, pattern_orientations
from ebsdsg_ml.pattern_dataset import PatternDataset
from ebsdsg_ml.pattern_rows import PatternRows
from ebsdsg_ml.pattern_source import DatasetError
from ebsdsg_ml.recipe import DatasetRecipe
from ebsdsg_ml.sampler import random_order
from ebsdsg_ml.simulated_patterns import (
    detected,
    recipe_detector,
    recipe_imperfections,
    recipe_projector,
)
from ebsdsg_sim.device import usable_device

if TYPE_CHECKING:
    import torch

    from ebsdsg_sim.projection import Projector

MEMORY = 2 << 30
"""Bytes that the projectors of one process take at most, unless said otherwise."""


def write_maps(file: h5py.File, row: int, recipe: DatasetRecipe, phase: PlannedPhase) -> None:
    """Write what the projector of a phase interpolates.

    Parameters
    ----------
    file : data set of the generation ``fresh``, open for writing.
    row : of the phase in the table of phases.
    recipe, phase : what to prepare.

    Notes
    -----
    16-bit numbers of maps scaled to a maximum of one are exact to 2.4e-4, a sixteenth of a grey
    level; the scale is kept beside them.
    """
    maps, pixel_weights = recipe_projector(recipe, phase.source, phase.stream).prepared
    if f"maps/{row}" in file:  # half written when the build was killed
        del file[f"maps/{row}"]
    group = file.create_group(f"maps/{row}")
    parts = {"maps": maps, "pixel_weights": pixel_weights}
    for name, values in parts.items():
        if values is None:
            continue
        array = values.cpu().numpy()
        scale = float(np.abs(array).max())
        if not np.isfinite(scale) or scale == 0:
            raise DatasetError(f"{phase.source.phase}: its master pattern is blank or not finite")
        stored = group.create_dataset(name, data=(array / scale).astype(np.float16))
        stored.attrs["scale"] = scale


class PatternBank(PatternDataset):
    """Patterns of some folds, made when they are asked for.

    Items are ``(pattern, class index, row)``, as those of stored patterns.  Pattern `i` of epoch
    `e` has the index ``e * len(bank) + i``, which an :class:`ebsdsg_ml.sampler.EpochSampler` gives.

    Parameters
    ----------
    path : data-set file of the generation ``fresh``.
    folds : a fold, several, :data:`ebsdsg_ml.splits.TEST`, or None for all but the test set.
    training : with the sets that are for training only, and new patterns in every epoch; otherwise
        the patterns are always those of epoch 0.
    device : where the maps are kept and the patterns made and left.
    memory : bytes of the prepared maps that are kept at the same time, in every process that makes
        patterns; the least recently used give way.

    Raises
    ------
    DatasetError
        If the file is unusable, a fold is not there, or there is no pattern in the folds.
    """

    def __init__(
        self,
        path: str | Path,
        folds: int | Iterable[int] | None = None,
        *,
        training: bool = False,
        device: str = "cpu",
        memory: int = MEMORY,
    ) -> None:
        with open_dataset(path) as opened:
            if opened.patterns is not None:
                raise DatasetError(f"{path} holds patterns; it is no bank of master patterns")
            PatternRows.__init__(self, opened, folds, training)
        usable_device(device)
        self.fresh, self.device, self.memory = training, device, memory
        with h5py.File(path, "r") as file:
            used = np.unique(self.phase_rows)
            self.map_bytes = {int(row): _map_bytes(file[f"maps/{row}"]) for row in used}
        self.detector = recipe_detector(self.recipe)
        self.imperfections = recipe_imperfections(self.recipe)
        self.loads = 0
        self._projectors: OrderedDict[int, Projector] = OrderedDict()
        self._file: h5py.File | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave handle and projectors behind: a worker has its own."""
        return {**self.__dict__, "_file": None, "_projectors": OrderedDict(), "loads": 0}

    def order(self, epoch: int, seed: int) -> np.ndarray:
        """Order of one epoch (see :class:`ebsdsg_ml.sampler.Patterns`).

        Where all maps fit into the memory, a random permutation.  Otherwise the phases are dealt
        at random into blocks that fit, every class evenly over the blocks, and the patterns of a
        block are permuted: a map is loaded once per epoch, and batches are still mixed.
        """
        blocks = self.blocks(epoch, seed)
        if len(blocks) == 1:
            return random_order(len(self), epoch, seed)
        rng = np.random.default_rng([seed, epoch, 2])
        block_of = np.empty(len(self.phases), dtype=np.int64)
        for number, rows in enumerate(blocks):
            block_of[rows] = number
        shuffled = rng.permutation(len(self))
        return shuffled[np.argsort(block_of[self.phase_rows[shuffled]], kind="stable")]

    def blocks(self, epoch: int, seed: int) -> list[list[int]]:
        """Rows of the table of phases whose maps are in memory together, block by block."""
        total = sum(self.map_bytes.values())
        # an evenly dealt block may still be a map or two above the mean
        room = max(1, self.memory - 2 * max(self.map_bytes.values()))
        n_blocks = 1 if total <= self.memory else min(-(-total // room), len(self.map_bytes))
        rng = np.random.default_rng([seed, epoch, 3])
        rows = np.array(sorted(self.map_bytes))
        classes = np.array([self._class_of(int(row)) for row in rows])
        blocks: list[list[int]] = [[] for _ in range(n_blocks)]
        dealt = 0  # dealing goes on where the last class ended, so that blocks are of one size
        for label in np.unique(classes):
            for row in rng.permutation(rows[classes == label]):
                blocks[dealt % n_blocks].append(int(row))
                dealt += 1
        return blocks

    def patterns(self, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Patterns of some indices, in the order asked for: (n, H, W) uint8 on the device."""
        import torch

        epochs, positions = np.divmod(np.asarray(indices, dtype=np.int64), len(self))
        if not self.fresh:
            epochs = np.zeros_like(epochs)
        size = self.recipe.size
        result = torch.empty((len(positions), size, size), dtype=torch.uint8, device=self.device)
        for row in np.unique(self.phase_rows[positions]):
            where = np.flatnonzero(self.phase_rows[positions] == row)
            key, numbers = self._key(int(row)), self.numbers[positions[where]]
            quaternions, chance = [], []
            for number, epoch in zip(numbers.tolist(), epochs[where].tolist(), strict=True):
                quaternions.append(pattern_orientations(self.recipe.seed, key, [number], epoch))
                chance += pattern_indices(key, [number], epoch)
            result[torch.from_numpy(where).to(self.device)] = detected(
                self._projector(int(row)),
                np.concatenate(quaternions),
                self.imperfections,
                self.recipe.seed,
                chance,
            )
        return result

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """The same as an array in memory."""
        return self.patterns(indices).cpu().numpy()

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[torch.Tensor, int, int]]:
        """Several items at once (called by the data loader)."""
        positions = np.asarray(indices) % len(self)
        return [
            (pattern, int(self.labels[i]), int(self.rows[i]))
            for pattern, i in zip(self.patterns(indices), positions, strict=True)
        ]

    def _class_of(self, row: int) -> int:
        return int(self.phases[row][self.recipe.label])

    def _key(self, row: int) -> str:
        phase = self.phases[row]
        return f"{phase['id']}\x1f{phase['set']}" if phase["set"] else str(phase["id"])

    def _projector(self, row: int) -> Projector:
        """Projector of a phase, from memory or from the file."""
        if row in self._projectors:
            self._projectors.move_to_end(row)
            return self._projectors[row]
        import torch

        from ebsdsg_sim.projection import Projector

        if self._file is None:
            self._file = h5py.File(self.path, "r")
        group = self._file[f"maps/{row}"]
        tensors = {
            name: torch.from_numpy(stored[...]).to(self.device, torch.float32)
            * float(stored.attrs["scale"])
            for name, stored in group.items()
        }
        self.loads += 1
        held = sum(self.map_bytes[other] for other in self._projectors)
        while self._projectors and held + self.map_bytes[row] > self.memory:
            held -= self.map_bytes[self._projectors.popitem(last=False)[0]]
        self._projectors[row] = Projector.from_prepared(
            tensors["maps"], tensors.get("pixel_weights"), self.detector, device=self.device
        )
        return self._projectors[row]


def _map_bytes(group: h5py.Group) -> int:
    """Bytes of a phase's maps and pixel weights as 32-bit numbers."""
    return sum(4 * int(np.prod(stored.shape)) for stored in group.values())
