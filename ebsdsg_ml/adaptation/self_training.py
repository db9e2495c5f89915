"""Self-training with balanced pseudo-labels, and answers corrected for the target's class shares.

Every epoch the network labels the target pool itself; of each class the most confident answers
become pseudo-labels, more of them from epoch to epoch (Y. Zou et al., *Class-Balanced
Self-Training*, ECCV 2018, arXiv:1810.07911), and all classes are drawn equally often.  So the
network goes on learning the source's balanced classes however the target's are mixed, and only its
answers are corrected for the mixture.  Pseudo-balanced sampling with a re-weighted classifier is
what held up under label shift in S. Garg et al., *RLSbench*, ICML 2023, arXiv:2302.03020.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ebsdsg_ml.adaptation.config import AdaptationConfig
from ebsdsg_ml.adaptation.method import Losses, SingleHead
from ebsdsg_ml.adaptation.prior import corrected, estimate_prior


def pseudo_labels(probabilities: np.ndarray, keep: float) -> np.ndarray:
    """Most probable class of the most confident patterns of each class.

    Parameters
    ----------
    probabilities : (n, classes).
    keep : share of each predicted class's patterns that is kept; at least one of each.

    Returns
    -------
    (n,) class index, -1 where the answer is not confident enough.
    """
    answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    labels = np.full(len(answers), -1)
    for answer in np.unique(answers):
        rows = np.flatnonzero(answers == answer)
        best = rows[np.argsort(-confidence[rows], kind="stable")]
        labels[best[: max(1, round(keep * len(rows)))]] = answer
    return labels


class SelfTraining(SingleHead):
    """Cross entropy on the source and on pseudo-labelled target patterns.

    Parameters
    ----------
    network, config : as for all methods.
    source_prior : (classes,) shares of the classes in the source.
    """

    def __init__(
        self, network: nn.Module, config: AdaptationConfig, source_prior: np.ndarray
    ) -> None:
        super().__init__(network, config)
        self.source_prior = source_prior
        self.labels = np.empty(0, np.int64)

    def begin_epoch(self, epoch: int, answers: Callable[[], np.ndarray]) -> None:
        """Label the pool anew; see :class:`ebsdsg_ml.adaptation.method.Adaptation`."""
        config = self.config
        passed = epoch / max(1, config.epochs - 1)
        keep = config.keep_first + (config.keep_last - config.keep_first) * passed
        target = answers()
        prior = self.prior_of_answers(target)
        if prior is not None:
            target = corrected(target, self.source_prior, prior)
        self.labels = pseudo_labels(target, keep)

    def target_rows(self, step: int, n: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Draw pseudo-labelled rows, all classes equally often if `balanced`."""
        from ebsdsg_ml.classifier import step_seed

        chosen = np.flatnonzero(self.labels >= 0)
        _, inverse, counts = np.unique(self.labels[chosen], return_inverse=True, return_counts=True)
        share = 1 / counts[inverse] if self.config.balanced else np.ones(len(chosen))
        rng = np.random.default_rng(step_seed(self.config.seed, step, purpose=4))
        rows = rng.choice(chosen, self.config.batch_size, p=share / share.sum())
        return rows, self.labels[rows]

    def step(self, source: Tensor, labels: Tensor, target: Tensor, pseudo: Tensor | None) -> Losses:
        """One step; see :class:`ebsdsg_ml.adaptation.method.Adaptation`."""
        assert pseudo is not None, "target_rows gives them"
        on_source, on_target = self.both_logits(source, target)
        loss = cross_entropy(on_source, labels)
        own = cross_entropy(on_target, pseudo)
        self.descend(loss + self.config.target_weight * own)
        return {"source": loss.detach(), "pseudo": own.detach()}

    def prior_of_answers(self, target: np.ndarray) -> np.ndarray | None:
        """Shares of the classes in the pool, unless `prior_correction` is off."""
        if not self.config.prior_correction:
            return None
        return estimate_prior(target, self.source_prior)

    def state(self) -> dict[str, Any]:
        """Networks, optimisers and the present pseudo-labels."""
        return {**super().state(), "labels": torch.from_numpy(self.labels)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take them up again."""
        super().load_state(state)
        self.labels = state["labels"].numpy()
