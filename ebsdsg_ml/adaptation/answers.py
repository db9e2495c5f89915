"""What a network under adaptation answers, for the target pool and held-out source patterns."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ebsdsg_ml import selection
from ebsdsg_ml.adaptation.adabn import AdaBN
from ebsdsg_ml.adaptation.domains import Pool
from ebsdsg_ml.adaptation.method import Adaptation, at_least_single
from ebsdsg_ml.adaptation.network import adapt_batchnorm, joined

AT_ONCE = 256
"""Patterns that are answered at the same time."""


def softmax(logits: Tensor) -> np.ndarray:
    """Probabilities (n, classes) in double precision."""
    return logits.double().softmax(dim=1).numpy()


@dataclass(frozen=True)
class EpochAnswers:
    """What the end of an epoch shows.

    Parameters
    ----------
    network : the network that gave the answers, corrected for the classes' shares.
    prior : (classes,) shares of the classes in the pool that it is corrected for, or None.
    measures : ``largest_share`` (of the most frequent answer), the criteria of
        :mod:`ebsdsg_ml.selection`, and ``source_validation`` (None without held-out patterns).
    """

    network: nn.Module
    prior: np.ndarray | None
    measures: dict[str, float | None]


class Answers:
    """Asks the networks of a method.

    Parameters
    ----------
    method : its networks are asked as they are at the time.
    target : the pool.
    held_out : source patterns with their classes, or None.
    source_prior : (classes,) shares of the classes in the source.
    target_statistics : whether BatchNorm's averages are computed from the pool first; AdaBN does so
        anyway.
    autocast : makes the context of the precision.
    """

    def __init__(
        self,
        method: Adaptation,
        target: Pool,
        held_out: tuple[Pool, np.ndarray] | None,
        source_prior: np.ndarray,
        target_statistics: bool,
        autocast: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.method, self.target, self.held_out = method, target, held_out
        self.source_prior, self.autocast = source_prior, autocast
        self.target_statistics = target_statistics or isinstance(method, AdaBN)

    def probabilities(self) -> np.ndarray:
        """Answers (n, classes) for the pool, of the head that counts, not corrected."""
        return softmax(self._of_target()[0][0])

    def at_the_end_of_an_epoch(self) -> EpochAnswers:
        """Answer for everything, and measure what needs no labels of the target."""
        logits, generator = self._of_target()
        n_classes = len(self.source_prior)
        prior = self.method.prior_of_answers(softmax(logits[0]))
        shift = torch.zeros(n_classes)
        if prior is not None:
            shift = torch.from_numpy(np.log(prior / self.source_prior)).float()
        probabilities = softmax(logits[0] + shift)
        if len(logits) > 1:
            opinions = softmax(logits[1]), softmax(logits[2])
        else:
            mirrored = self._logits(generator, self.target, mirrored=True)[0]
            opinions = probabilities, softmax(mirrored + shift)
        frequent = np.bincount(probabilities.argmax(axis=1), minlength=n_classes)
        measures: dict[str, float | None] = {
            "largest_share": float(frequent.max() / frequent.sum())
        }
        measures |= selection.unsupervised_criteria(probabilities, opinions)
        measures["source_validation"] = self._source_validation()
        head = self.method.answering_heads()[0]
        network = joined(generator, head, self.method.path)
        with torch.no_grad():
            network.get_submodule(self.method.path).bias.add_(shift.to(head.bias.device))  # type: ignore[operator,union-attr]
        return EpochAnswers(network.eval(), prior, measures)

    def _source_validation(self) -> float | None:
        """Accuracy on held-out source patterns.

        The network answers as it was trained: the target's averages and shares are not the
        source's.
        """
        if self.held_out is None:
            return None
        pool, labels = self.held_out
        found = self._logits(self.method.networks["generator"], pool)[0]
        return float((found.argmax(dim=1).numpy() == labels).mean())

    def _of_target(self) -> tuple[list[Tensor], nn.Module]:
        """Logits of the target pool for every head, and the generator that gave them."""
        generator = self.method.networks["generator"]
        if self.target_statistics:
            generator = copy.deepcopy(generator)
            with self.autocast():
                adapt_batchnorm(generator, self.target.mixed(AT_ONCE))
        return self._logits(generator, self.target), generator

    @torch.inference_mode()
    def _logits(self, generator: nn.Module, pool: Pool, mirrored: bool = False) -> list[Tensor]:
        """Logits (n, classes) of every answering head."""
        heads = self.method.answering_heads()
        parts: list[list[Tensor]] = [[] for _ in heads]
        generator.eval()
        for inputs in pool.evaluation(AT_ONCE, mirrored=mirrored):
            with self.autocast():
                features = generator(inputs)
                for part, head in zip(parts, heads, strict=True):
                    part.append(at_least_single(head(features)).cpu())
        return [torch.cat(part) for part in parts]
