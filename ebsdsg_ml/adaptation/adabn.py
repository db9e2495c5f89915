"""AdaBN: training on the source, BatchNorm's averages from the target.

Y. Li, N. Wang, J. Shi, J. Liu, X. Hou, *Revisiting Batch Normalization for Practical Domain
Adaptation*, arXiv:1603.04779 (2016).
"""

from __future__ import annotations

from ebsdsg_ml.adaptation.source_only import SourceOnly


class AdaBN(SourceOnly):
    """Source-only whose answering network has the target's BatchNorm statistics.

    They are computed where any method's are if ``statistics`` is ``"target"``; here always
    (:func:`ebsdsg_ml.adaptation.network.adapt_batchnorm`).
    """
