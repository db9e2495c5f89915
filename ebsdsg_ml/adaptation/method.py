"""What every method of adaptation is: networks with optimisers, one step, and an answer.

The loop around it (batches, epochs, resume points, choice of the epoch) is
:func:`ebsdsg_ml.adaptation.fit.adapt`, the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ebsdsg_ml.adaptation.config import AdaptationConfig
from ebsdsg_ml.adaptation.domains import rows_of_step
from ebsdsg_ml.adaptation.network import split

Losses = dict[str, Tensor]
"""Named losses of a step, without gradient, for the history."""


class Adaptation(Protocol):
    """One method, made from a network and the settings.

    Attributes
    ----------
    networks : all that is learned; ``"generator"`` gives the features.
    path : where in the network the head belongs.
    """

    networks: nn.ModuleDict
    path: str

    def begin_epoch(self, epoch: int, answers: Callable[[], np.ndarray]) -> None:
        """Prepare an epoch.

        Parameters
        ----------
        epoch : number from 0.
        answers : computes the present (n, classes) probabilities of the target pool.
        """

    def target_rows(self, step: int, n: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows of the target pool that a step takes, and their pseudo-labels if there are any."""

    def step(self, source: Tensor, labels: Tensor, target: Tensor, pseudo: Tensor | None) -> Losses:
        """Make one step.

        Parameters
        ----------
        source : (b, 1, crop, crop) inputs.
        labels : (b,) their classes.
        target : (b, 1, crop, crop) inputs.
        pseudo : (b,) pseudo-labels of the target inputs, if :meth:`target_rows` gave them.
        """

    def source_step(self, source: Tensor, labels: Tensor) -> Losses:
        """Make one step of the warm-up, without the target."""

    def answering_heads(self) -> list[nn.Linear]:
        """Heads that answer: first the one that counts, then two that may disagree, if any."""

    def prior_of_answers(self, target: np.ndarray) -> np.ndarray | None:
        """Class frequencies (classes,) to correct answers for, from (n, classes) probabilities."""

    def state(self) -> dict[str, Any]:
        """All that a resume needs; tensors, numbers and strings only."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take a state up again."""


class SingleHead:
    """A network with its one head, trained on the source: what most methods start from.

    Parameters
    ----------
    network : takes inputs, gives logits; used, not copied.
    config : settings.
    """

    def __init__(self, network: nn.Module, config: AdaptationConfig) -> None:
        self.config = config
        generator, head, self.path = split(network)
        self.networks = nn.ModuleDict({"generator": generator, "head": head})
        self.optimizers = {"all": make_optimizer(self.networks.parameters(), config)}

    def begin_epoch(self, epoch: int, answers: Callable[[], np.ndarray]) -> None:
        """Nothing to prepare."""

    def target_rows(self, step: int, n: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Go through the pool again and again."""
        return rows_of_step(n, self.config.batch_size, step, self.config.seed, purpose=4), None

    def logits(self, inputs: Tensor) -> Tensor:
        """Logits (n, classes), at least in single precision."""
        return at_least_single(self.networks["head"](self.networks["generator"](inputs)))

    def both_logits(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of source and target, passed as `batchnorm` says."""
        if self.config.batchnorm == "separate":
            return self.logits(source), self.logits(target)
        logits = self.logits(torch.cat((source, target)))
        return logits[: len(source)], logits[len(source) :]

    def source_step(self, source: Tensor, labels: Tensor) -> Losses:
        """One step of cross entropy on the source."""
        loss = cross_entropy(self.logits(source), labels)
        self.descend(loss)
        return {"source": loss.detach()}

    def descend(self, loss: Tensor) -> None:
        """Step all optimisers down the gradient of a loss."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in self.optimizers.values():
            optimizer.step()

    def answering_heads(self) -> list[nn.Linear]:
        """The one head."""
        head = self.networks["head"]
        assert isinstance(head, nn.Linear)
        return [head]

    def prior_of_answers(self, target: np.ndarray) -> np.ndarray | None:
        """No correction."""
        return None

    def state(self) -> dict[str, Any]:
        """Networks and optimisers."""
        return learned_state(self.networks, self.optimizers)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take them up again."""
        load_learned_state(state, self.networks, self.optimizers)


def learned_state(
    networks: nn.ModuleDict, optimizers: Mapping[str, torch.optim.Optimizer]
) -> dict[str, Any]:
    """State of networks and optimisers for a resume point."""
    return {
        "networks": networks.state_dict(),
        "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
    }


def load_learned_state(
    state: Mapping[str, Any],
    networks: nn.ModuleDict,
    optimizers: Mapping[str, torch.optim.Optimizer],
) -> None:
    """Inverse of :func:`learned_state`."""
    networks.load_state_dict(state["networks"])
    for name, optimizer in optimizers.items():
        optimizer.load_state_dict(state["optimizers"][name])


def at_least_single(logits: Tensor) -> Tensor:
    """Half precision becomes single, double stays."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def make_optimizer(
    parameters: Iterable[nn.Parameter], config: AdaptationConfig
) -> torch.optim.Optimizer:
    """Optimiser of the settings for some parameters."""
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=rate, momentum=config.momentum, weight_decay=decay, fused=True
        )
    return torch.optim.Adam(parameters, lr=rate, weight_decay=decay, fused=True)
