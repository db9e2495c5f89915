"""Minimum Class Confusion (MCC): answers on the target should not hesitate between classes.

Y. Jin, X. Wang, M. Long, J. Wang, *Minimum Class Confusion for Versatile Domain Adaptation*,
ECCV 2020, arXiv:1912.03699.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ebsdsg_ml.adaptation.method import Losses, SingleHead


def class_confusion(logits: Tensor, temperature: float) -> Tensor:
    """Confusion between classes in the answers for a batch.

    Parameters
    ----------
    logits : (n, classes).
    temperature : T by which the logits are divided first.

    Returns
    -------
    Sum of the off-diagonal elements of the category-normalised class correlation, divided by the
    number of classes (equations 3 to 7 of the paper); confident answers weigh more.
    """
    probabilities = (logits / temperature).softmax(dim=1)
    entropy = -(probabilities * (probabilities + 1e-12).log()).sum(dim=1)
    weight = 1 + torch.exp(-entropy)
    weight = (len(logits) * weight / weight.sum()).detach()
    confusion = (probabilities * weight[:, None]).T @ probabilities
    confusion = confusion / confusion.sum(dim=1, keepdim=True)
    return (confusion.sum() - confusion.trace()) / logits.shape[1]


class MCC(SingleHead):
    """Cross entropy on the source and class confusion on the target, one pass each step."""

    def step(self, source: Tensor, labels: Tensor, target: Tensor, pseudo: Tensor | None) -> Losses:
        """One step; see :class:`ebsdsg_ml.adaptation.method.Adaptation`."""
        on_source, on_target = self.both_logits(source, target)
        loss = cross_entropy(on_source, labels)
        confusion = class_confusion(on_target, self.config.confusion_temperature)
        self.descend(loss + self.config.target_weight * confusion)
        return {"source": loss.detach(), "confusion": confusion.detach()}
