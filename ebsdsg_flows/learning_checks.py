"""Whether the networks that a campaign asks for exist, and whether its crops fit its patterns.

A weights file is not looked for: it is read on the workers, where this machine may have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ebsdsg_flows.adaptation_plan import AdaptationPlan

FAMILIAR = ("resnet18", "resnet50")
"""Networks of the paper, the defaults.  To ask torchvision and timm for others takes seconds."""


def check_learning(
    datasets: Mapping[str, Mapping[str, Any]],
    training: Mapping[str, Any],
    adaptation: Mapping[str, AdaptationPlan],
) -> None:
    """Refuse a network that does not exist and a crop that is larger than the patterns.

    Parameters
    ----------
    datasets : complete recipes by name.
    training : complete settings; empty where nothing is trained.
    adaptation : plans by name.

    Raises
    ------
    ValueError
        Naming the entry, its value and what is allowed.
    """
    for where, settings, sources in _parts(datasets, training, adaptation):
        crop = settings["crop"]
        for name in sources:
            size = datasets[name]["size"]
            if crop is not None and crop > size:
                raise ValueError(
                    f"{where}.crop = {crop}: the patterns of the data set {name!r} have {size} "
                    "pixels per side"
                )
        if settings["model"] not in FAMILIAR:
            from ebsdsg_ml.models import ModelError, check_network

            try:
                check_network(settings["model"])
            except ModelError as error:
                raise ValueError(f"{where}.model: {error}") from None


def _parts(
    datasets: Mapping[str, Mapping[str, Any]],
    training: Mapping[str, Any],
    adaptation: Mapping[str, AdaptationPlan],
) -> Iterator[tuple[str, Mapping[str, Any], Iterable[str]]]:
    """Every place with settings, and the data sets that are learned from with them."""
    if training:
        yield "training", training, datasets
    for name, plan in adaptation.items():
        if plan.settings and not plan.start:  # a model to start from brings its own
            yield f"adaptation.{name}.settings", plan.settings, plan.sources
