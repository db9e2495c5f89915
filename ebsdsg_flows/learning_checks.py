"""Whether what a campaign learns fits together: networks, crops, flips, sources and targets.

What is refused here would be refused by the learning, after all simulations.  A weights file is not
looked for: it is read on the workers, where this machine may have none.
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
    final_model: str | None,
) -> None:
    """Refuse networks that do not exist, crops, flips, sources and targets that do not fit.

    Parameters
    ----------
    datasets : complete recipes by name.
    training : complete settings; empty where nothing is trained.
    adaptation : plans by name, with sources among the data sets.
    final_model : data set of the final model, from which plans may start.

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
            if settings["flips"]:
                _check_flips(f"{where}.flips", name, datasets[name]["classes"])
        if settings["model"] not in FAMILIAR:
            from ebsdsg_ml.models import ModelError, check_network

            try:
                check_network(settings["model"])
            except ModelError as error:
                raise ValueError(f"{where}.model: {error}") from None
    for name, plan in adaptation.items():
        _check_domains(f"adaptation.{name}", plan, datasets, final_model)


def _check_flips(where: str, name: str, classes: Iterable[int]) -> None:
    from ebsdsg_ml.chirality import SOHNCKE_GROUPS

    if chiral := [str(group) for group in classes if group in SOHNCKE_GROUPS]:
        raise ValueError(
            f"{where} = true: the data set {name!r} has the groups {', '.join(chiral)} without "
            "improper operations, of which a mirrored pattern is another structure's: say false"
        )


def _check_domains(
    where: str,
    plan: AdaptationPlan,
    datasets: Mapping[str, Mapping[str, Any]],
    final_model: str | None,
) -> None:
    """Sources are joined, so they are of one kind; the others need not have labels like theirs."""
    first = plan.sources[0]
    like: list[tuple[str, tuple[str, ...]]] = [
        (source, ("label", "classes", "size")) for source in plan.sources[1:]
    ]
    if plan.start and final_model is not None:
        like.append((final_model, ("classes", "size")))
    if plan.target in datasets:
        like.append((plan.target, ("size",)))
    for name, entries in like:
        for entry in entries:
            one, other = datasets[first][entry], datasets[name][entry]
            if one != other:
                raise ValueError(
                    f"{where}: the data sets {first!r} and {name!r} differ in {entry} ({one} and "
                    f"{other}), which sources, target and the model to start from must share"
                )


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
