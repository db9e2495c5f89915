"""The order in which a training sees its patterns, and where in that order it is.

An epoch's order follows from the seed and the number of the epoch, so a position is one integer:
the number of batches that were trained on.  It is serialised with :meth:`EpochSampler.state_dict`,
and a run that takes it up again goes on with the very batches that the uninterrupted one would have
had, whatever its loader had fetched ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np


class SamplerError(ValueError):
    """A sampler's state is that of other patterns or of another order."""


class Patterns(Protocol):
    """What a sampler and a training ask of a data set, stored or made on the fly.

    Attributes
    ----------
    fresh : whether every epoch has patterns of its own.  Pattern `i` of epoch `e` then has the
        index ``e * len(patterns) + i``; otherwise its index is `i` in every epoch.
    content_sha256 : digest of what the patterns follow from.
    """

    @property
    def fresh(self) -> bool:
        """Whether every epoch has patterns of its own."""

    @property
    def content_sha256(self) -> str:
        """Digest of what the patterns follow from."""

    def __len__(self) -> int: ...

    def order(self, epoch: int, seed: int) -> np.ndarray:
        """(n,) positions 0 ... n - 1 in the order of one epoch."""


def step_seed(seed: int, step: int, purpose: int = 0) -> int:
    """Seed of one step or epoch, statistically independent of those of other steps and purposes.

    Parameters
    ----------
    seed, step, purpose : non-negative integers.

    Returns
    -------
    Integer below 2**63.
    """
    return int(np.random.SeedSequence([seed, step, purpose]).generate_state(1, np.uint64)[0] >> 1)


def random_order(n: int, epoch: int, seed: int) -> np.ndarray:
    """(n,) random permutation that follows from seed and epoch alone."""
    return np.random.default_rng([seed, epoch, 1]).permutation(n)


class EpochSampler:
    """Batch sampler for a :class:`torch.utils.data.DataLoader` that can resume at any step.

    Every epoch visits all patterns once, in batches of equal size to within one pattern.
    Iterating gives the batches that are left of the present epoch and does not move the position:
    a loader fetches ahead, and only the training knows what it used.  It either calls
    :meth:`advance` after every step or lets the sampler ask with `position`.

    Parameters
    ----------
    patterns : the data set; gives the order and says whether every epoch has its own patterns.
    batch_size : largest batch.
    seed : of the order.
    position : tells the number of steps made, over all epochs; None counts :meth:`advance`.
    share : gives the part of a batch that is iterated over, for one of several devices; None is the
        whole of it.  Batches, order and position are the same on all devices.

    Raises
    ------
    SamplerError
        If there is no pattern, or the batch size is below 1.
    """

    def __init__(
        self,
        patterns: Patterns,
        batch_size: int,
        seed: int,
        position: Callable[[], int] | None = None,
        share: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        if batch_size < 1 or not len(patterns):
            raise SamplerError(f"batches of {batch_size} from {len(patterns)} patterns")
        self.patterns, self.batch_size, self.seed = patterns, batch_size, seed
        self.steps_per_epoch = -(-len(patterns) // batch_size)
        self._steps = 0
        self._position = position
        self._share = share

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return self.steps_per_epoch

    @property
    def position(self) -> int:
        """Number of batches trained on, over all epochs."""
        return self._steps if self._position is None else self._position()

    def advance(self, steps: int = 1) -> None:
        """Count batches that were trained on.

        Raises
        ------
        SamplerError
            If somebody else counts (`position` was given).
        """
        if self._position is not None:
            raise SamplerError("the position is told by the training; it cannot be advanced here")
        self._steps += steps

    def batches(self, epoch: int) -> list[np.ndarray]:
        """All batches of one epoch: indices of patterns, in the order of training."""
        order = self.patterns.order(epoch, self.seed)
        if self.patterns.fresh:
            order = order + epoch * len(self.patterns)
        return np.array_split(order, self.steps_per_epoch)

    def __iter__(self) -> Iterator[list[int]]:
        """Batches left in the present epoch."""
        epoch, done = divmod(self.position, self.steps_per_epoch)
        for batch in self.batches(epoch)[done:]:
            yield (batch if self._share is None else self._share(batch)).tolist()

    def state_dict(self) -> dict[str, Any]:
        """Position and what gives it a meaning; plain JSON types."""
        return {"position": self.position, **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another sampler was.

        Raises
        ------
        SamplerError
            If that sampler had other patterns, another batch size or another seed, or if somebody
            else counts the steps.
        """
        other = [name for name, value in self._identity().items() if state.get(name) != value]
        if other:
            raise SamplerError(
                f"the position belongs to another order of patterns (different: "
                f"{', '.join(other)}); go on with what the run was started with"
            )
        if self._position is not None:
            raise SamplerError("the position is told by the training; it cannot be loaded here")
        self._steps = int(state["position"])

    def _identity(self) -> dict[str, Any]:
        return {
            "content_sha256": self.patterns.content_sha256,
            "n_patterns": len(self.patterns),
            "batch_size": self.batch_size,
            "seed": self.seed,
        }
