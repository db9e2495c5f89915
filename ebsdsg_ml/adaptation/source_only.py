"""No adaptation: training on the source, the target is only answered for."""

from __future__ import annotations

from torch import Tensor

from ebsdsg_ml.adaptation.method import Losses, SingleHead


class SourceOnly(SingleHead):
    """Cross entropy on the source patterns; the yardstick of every other method."""

    def step(self, source: Tensor, labels: Tensor, target: Tensor, pseudo: Tensor | None) -> Losses:
        """One step on the source; see :class:`ebsdsg_ml.adaptation.method.Adaptation`."""
        return self.source_step(source, labels)
