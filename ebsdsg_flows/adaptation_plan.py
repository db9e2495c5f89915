"""The part of a campaign file that says what is adapted to what."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

KEY = re.compile("[0-9a-f]{64}")
"""What the key of a document looks like."""

FINAL = "final"
"""Under which a campaign keeps what the ensemble of its final models found."""


class AdaptationPlan(BaseModel):
    """One method, run with several seeds on one target, and the ensemble of the runs.

    Parameters
    ----------
    sources : names of the campaign's data sets with labels; joined.
    target : name of a data set of the campaign (its test set, if it has one), key (all 64 digits)
        of a set of imported patterns or of another data set, or path of a file of either, of a
        ``.npy`` file of patterns or of a folder of images.
    start : whether to start from the campaign's final model; otherwise from ImageNet or random
        weights, as the settings say.
    seeds : number of runs; each is a firework of its own.
    validation_fold : fold of the sources held out for the criterion ``source_validation``; not
        with `start`, whose model was trained on all folds.
    settings : fields of :class:`ebsdsg_ml.adaptation.AdaptationConfig`; ``seed`` is the first one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: tuple[str, ...] = Field(min_length=1)
    target: str
    start: bool = False
    seeds: int = Field(default=1, ge=1)
    validation_fold: int | None = Field(default=None, ge=0)
    settings: dict[str, Any] = Field(default_factory=dict, validate_default=True)

    @field_validator("settings")
    @classmethod
    def _known_settings(cls, value: dict[str, Any]) -> dict[str, Any]:
        from ebsdsg_ml.adaptation import AdaptationConfig

        return AdaptationConfig.from_dict(value).to_dict()

    def resolved(self, datasets: Iterable[str], folder: Path) -> AdaptationPlan:
        """The same plan, a path to the target taken relative to a folder.

        Parameters
        ----------
        datasets : names of the campaign's data sets.
        folder : of the campaign file.
        """
        if self.target in datasets or KEY.fullmatch(self.target):
            return self
        return self.model_copy(update={"target": str(folder.absolute() / self.target)})

    def check(self, name: str, datasets: Iterable[str], final_model: str | None) -> None:
        """Refuse names that the campaign does not have.

        Parameters
        ----------
        name : of the plan.
        datasets : names of the campaign's data sets.
        final_model : data set of its final model.

        Raises
        ------
        ValueError
            Naming the plan and what is missing.
        """
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,31}", name):
            raise ValueError(f"adaptation: {name!r} is not a name of letters, digits, _ and -")
        if name == FINAL:
            raise ValueError(f"adaptation: {name!r} is what the final models' ensemble is called")
        known = list(datasets)
        for source in self.sources:
            if source not in known:
                raise ValueError(
                    f"adaptation.{name}: source {source!r} is not one of the data sets "
                    f"({', '.join(known) or 'none'})"
                )
        if self.start and final_model is None:
            raise ValueError(f"adaptation.{name}: start needs a final_model")
        if self.start and self.validation_fold is not None:
            raise ValueError(
                f"adaptation.{name}: start is the final model, which was trained on all folds, so "
                f"that nothing of validation_fold {self.validation_fold} is held out: leave "
                "validation_fold out and take a criterion without labels, such as bnm; or leave "
                "start out"
            )
