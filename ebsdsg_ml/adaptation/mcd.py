"""Maximum Classifier Discrepancy (MCD): two heads that disagree where the target is unlike.

K. Saito, K. Watanabe, Y. Ushiku, T. Harada, *Maximum Classifier Discrepancy for Unsupervised Domain
Adaptation*, CVPR 2018, arXiv:1712.02560.  Every step has three stages: (A) generator and heads
learn the source; (B) the heads keep the source and part on the target; (C) the generator, n times,
brings them together again.  The discrepancy is the L1 distance of the soft-max outputs, averaged
over classes and patterns; there is no class-balance term, as in the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ebsdsg_ml.adaptation.config import AdaptationConfig
from ebsdsg_ml.adaptation.domains import rows_of_step
from ebsdsg_ml.adaptation.method import (
    Losses,
    at_least_single,
    learned_state,
    load_learned_state,
    make_optimizer,
)
from ebsdsg_ml.adaptation.network import (
    batchnorm_layers,
    counted_twice,
    fresh_heads,
    mean_head,
    set_momenta,
    split,
)


def discrepancy(first: Tensor, second: Tensor) -> Tensor:
    """L1 distance of two heads' soft-max outputs, mean over patterns and classes.

    Parameters
    ----------
    first, second : (n, classes) logits.
    """
    return (first.softmax(dim=1) - second.softmax(dim=1)).abs().mean()


class MCD:
    """Generator and two single-layer heads, each with its optimiser.

    Parameters
    ----------
    network : its last layer is replaced by two fresh ones, initialised differently.
    config : settings.

    Notes
    -----
    `batchnorm` = ``"separate"``: the generator sees source and target one after the other, the
    source in stages A and B, the target in B and n times in C, as in Dassl; at n = 4 the running
    averages are 78 % target.  ``"joint"``: every pass holds both in one batch, as in the authors'
    code.  Stage B does not change the generator, so its target pass is also the first of stage C:
    it is computed once and moves the running averages twice.
    """

    def __init__(self, network: nn.Module, config: AdaptationConfig) -> None:
        self.config = config
        generator, head, self.path = split(network)
        heads = fresh_heads(head, 2, config.seed)
        self.networks = nn.ModuleDict(
            {"generator": generator, "first": heads[0], "second": heads[1]}
        )
        self.optimizers = {
            name: make_optimizer(part.parameters(), config) for name, part in self.networks.items()
        }
        self._batchnorm = batchnorm_layers(generator)

    def begin_epoch(self, epoch: int, answers: Callable[[], np.ndarray]) -> None:
        """Nothing to prepare."""

    def target_rows(self, step: int, n: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Go through the pool again and again."""
        return rows_of_step(n, self.config.batch_size, step, self.config.seed, purpose=4), None

    def heads(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of both heads."""
        first, second = self.networks["first"](features), self.networks["second"](features)
        return at_least_single(first), at_least_single(second)

    def source_loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """Sum of the cross entropies of both heads."""
        first, second = self.heads(features)
        return cross_entropy(first, labels) + cross_entropy(second, labels)

    def step(self, source: Tensor, labels: Tensor, target: Tensor, pseudo: Tensor | None) -> Losses:
        """Make the three stages; see :class:`ebsdsg_ml.adaptation.method.Adaptation`."""
        loss_a = self.learn_source(source, labels, target)
        features_s, features_t = self.features_once(source, target)
        loss_b, parted = self.part_heads(features_s, labels, features_t)
        for turn in range(self.config.generator_steps):
            if turn:
                features_t = self.target_features(source, target)
            met = self.meet(features_t)
        return {"source": loss_a, "heads": loss_b, "parted": parted, "discrepancy": met}

    def source_step(self, source: Tensor, labels: Tensor) -> Losses:
        """Stage A alone, without the target."""
        loss = self.source_loss(self.networks["generator"](source), labels)
        self._descend(loss, "generator", "first", "second")
        return {"source": loss.detach()}

    def learn_source(self, source: Tensor, labels: Tensor, target: Tensor) -> Tensor:
        """Stage A: all parts learn the source."""
        generator = self.networks["generator"]
        if self.config.batchnorm == "joint":
            features = generator(torch.cat((source, target)))[: len(source)]
        else:
            features = generator(source)
        loss = self.source_loss(features, labels)
        self._descend(loss, "generator", "first", "second")
        return loss.detach()

    def features_once(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Features of both sides for stage B, those of the target with gradient for stage C."""
        generator = self.networks["generator"]
        if self.config.batchnorm == "joint":
            momenta = counted_twice(self._batchnorm)
            features = generator(torch.cat((source, target)))
            set_momenta(self._batchnorm, momenta)
            return features[: len(source)].detach(), features[len(source) :]
        with torch.no_grad():
            features_s = generator(source)
        momenta = counted_twice(self._batchnorm)
        features_t = generator(target)
        set_momenta(self._batchnorm, momenta)
        return features_s, features_t

    def part_heads(
        self, features_s: Tensor, labels: Tensor, features_t: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Stage B: the heads learn the source and part on the target; the generator stays.

        Returns
        -------
        Loss of the stage, and the discrepancy in it.
        """
        parted = discrepancy(*self.heads(features_t.detach()))
        loss = self.source_loss(features_s, labels) - parted
        self._descend(loss, "first", "second")
        return loss.detach(), parted.detach()

    def target_features(self, source: Tensor, target: Tensor) -> Tensor:
        """Features of the target for one turn of stage C."""
        generator = self.networks["generator"]
        if self.config.batchnorm == "joint":
            return generator(torch.cat((source, target)))[len(source) :]
        return generator(target)

    def meet(self, features_t: Tensor) -> Tensor:
        """One turn of stage C: the generator brings the heads together; they stay."""
        for name in ("first", "second"):
            self.networks[name].requires_grad_(False)
        loss = discrepancy(*self.heads(features_t))
        self._descend(loss, "generator")
        for name in ("first", "second"):
            self.networks[name].requires_grad_(True)
        return loss.detach()

    def _descend(self, loss: Tensor, *parts: str) -> None:
        for part in parts:
            self.optimizers[part].zero_grad(set_to_none=True)
        loss.backward()
        for part in parts:
            self.optimizers[part].step()

    def answering_heads(self) -> list[nn.Linear]:
        """The head that `inference` says, then both."""
        first, second = self.networks["first"], self.networks["second"]
        assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
        counts = first if self.config.inference == "first" else mean_head([first, second])
        return [counts, first, second]

    def prior_of_answers(self, target: np.ndarray) -> np.ndarray | None:
        """No correction."""
        return None

    def state(self) -> dict[str, Any]:
        """Networks and optimisers."""
        return learned_state(self.networks, self.optimizers)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take them up again."""
        load_learned_state(state, self.networks, self.optimizers)
