"""A campaign: which structures, how they are simulated, what is learned from them.

One YAML file says all of it.  Reading it checks every key and every value before anything runs or
is stored, so that a spelling mistake costs a second and not a night on a cluster.  What stands
elsewhere is not looked at: structures and targets of adaptations are looked for by the submission,
and only the workers read the weights files of networks and what is in a target's file.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from ebsdsg_flows.adaptation_plan import AdaptationPlan
from ebsdsg_flows.learning_checks import check_learning
from ebsdsg_flows.resources import STAGES, QueuePlan, Section, StageResources
from ebsdsg_flows.simulation_plan import SimulationPlan, SpaceGroups, Variant
from ebsdsg_flows.sources import NAMED
from ebsdsg_flows.yaml_file import read_entries

SpaceGroup = Annotated[int, Field(ge=1, le=230)]
Volume = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class CampaignError(ValueError):
    """The campaign file is missing, is not YAML or has a wrong key or value."""


class StructureQuery(Section):
    """Which structures take part.

    Parameters
    ----------
    source : ``demo`` for the packaged set; ``materials_project`` for what ``ebsdsg import`` fetched
        from there; ``imported`` for all that was imported; or a path: CIF file, folder of CIF
        files, JSON lines, description of a maggma store (YAML or JSON).
    groups : true space groups kept; empty keeps all.
    materials : identifiers kept; empty keeps all.
    max_volume : largest conventional cell per true space group [Angstrom^3].
    symprec : tolerance of the symmetry search, from 1e-6 to 1 [Angstrom].
    origin : who chooses axes and origin among the equivalent ones: ``spglib``, or ``findsym``, for
        which the workers need the program FINDSYM.
    include_gnome : take entries of the Materials Project whose licence (CC BY-NC 4.0) excludes
        commercial use.
    """

    source: str
    groups: SpaceGroups = ()
    materials: tuple[str, ...] = ()
    max_volume: dict[SpaceGroup, Volume] = Field(default_factory=dict)
    symprec: float = Field(default=0.1, ge=1e-6, le=1.0, allow_inf_nan=False)
    origin: Literal["spglib", "findsym"] = "spglib"
    include_gnome: bool = False


class Campaign(Section):
    """One campaign, as its file says it.

    Parameters
    ----------
    name : key of the campaign in the database.
    description : free text for the report.
    structures, simulation, queue : see their classes.
    variants : name to :class:`Variant`.
    resources : stage (``structure``, ``monte_carlo``, ``master_pattern``, ``learning``) to
        :class:`StageResources`.  With ``monte_carlo`` the Monte Carlo is a job of its own wherever
        the engine can compute it apart.
    datasets : name (letters, digits, ``_`` and ``-``) to recipe, fields of
        :class:`ebsdsg_ml.recipe.DatasetRecipe`; one that tells sets by Debye-Waller factors is made
        of the simulations of all variants.
    training : fields of :class:`ebsdsg_ml.protocol.TrainingConfig`.
    final_model : name of the data set on which, all folds together, the final model is trained;
        ``None`` trains none.
    final_seeds : number of final models, which differ in their seed and make an ensemble.
    adaptation : name to :class:`ebsdsg_flows.adaptation_plan.AdaptationPlan`.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    description: str = ""
    structures: StructureQuery
    simulation: SimulationPlan = SimulationPlan()
    variants: dict[str, Variant] = Field(default_factory=dict)
    resources: dict[str, StageResources] = Field(default_factory=dict)
    queue: QueuePlan = QueuePlan()
    datasets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    final_model: str | None = None
    final_seeds: int = Field(default=1, ge=1)
    adaptation: dict[str, AdaptationPlan] = Field(default_factory=dict)

    @field_validator("datasets")
    @classmethod
    def _known_recipes(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        from ebsdsg_ml.recipe import DatasetRecipe, RecipeError

        recipes = {}
        for name, recipe in value.items():
            # results are stored under it, where a dot would begin another level
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
                raise ValueError(f"{name!r} is not a name of letters, digits, _ and -")
            try:
                recipes[name] = DatasetRecipe.from_dict(recipe).to_dict()
            except RecipeError as error:
                raise ValueError(f"{name}: {error}") from None
        return recipes

    @field_validator("resources")
    @classmethod
    def _known_stages(cls, value: dict[str, StageResources]) -> dict[str, StageResources]:
        if unknown := sorted(set(value) - set(STAGES)):
            raise ValueError(f"unknown stage {unknown[0]!r}; there are {', '.join(STAGES)}")
        return value

    @field_validator("variants")
    @classmethod
    def _named_variants(cls, value: dict[str, Variant]) -> dict[str, Variant]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,31}", name):
                raise ValueError(f"{name!r} is not a name of letters, digits, _ and -")
        return value

    @field_validator("training")
    @classmethod
    def _known_training(cls, value: dict[str, Any]) -> dict[str, Any]:
        from ebsdsg_ml.protocol import TrainingConfig

        return TrainingConfig.from_dict(value).to_dict()

    @model_validator(mode="after")
    def _adaptation_fits(self) -> Campaign:
        for name, plan in self.adaptation.items():
            plan.check(name, self.datasets, self.final_model)
        return self

    @model_validator(mode="after")
    def _learning_fits(self) -> Campaign:
        check_learning(self.datasets, self.training, self.adaptation, self.final_model)
        return self

    @model_validator(mode="after")
    def _final_model_exists(self) -> Campaign:
        if self.final_model is not None and self.final_model not in self.datasets:
            raise ValueError(
                f"final_model {self.final_model!r} is not one of the data sets "
                f"({', '.join(self.datasets) or 'none'})"
            )
        return self


def load_campaign(path: str | Path) -> Campaign:
    """Read and check a campaign file.

    Parameters
    ----------
    path : YAML file; a relative ``structures.source`` is taken relative to it.

    Raises
    ------
    CampaignError
        If the file is missing, is not YAML, or has an unknown key or a wrong value.
    """
    path = Path(path)
    keys = f"a mapping with the keys {_keys(Campaign)}"
    content = read_entries(path, "campaign", keys, CampaignError)
    try:
        campaign = Campaign.model_validate(content)
    except ValidationError as error:
        raise CampaignError(f"{path}: {_first_problem(error)}") from None
    source = campaign.structures.source
    if source not in NAMED and not Path(source).is_absolute():
        query = campaign.structures.model_copy(update={"source": str(path.parent / source)})
        campaign = campaign.model_copy(update={"structures": query})
    plans = {
        name: plan.resolved(campaign.datasets, path.parent)
        for name, plan in campaign.adaptation.items()
    }
    return campaign.model_copy(update={"adaptation": plans})


def _keys(model: type[BaseModel]) -> str:
    return ", ".join(model.model_fields)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    where, _ = _place(problem["loc"])
    if problem["type"] == "extra_forbidden":
        _, model = _place(problem["loc"][:-1])
        return f"unknown key {where!r}; known keys here: {_keys(model)}"
    if problem["type"] == "missing":
        return f"key {where!r} is missing"
    text = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {text}" if where else text  # what concerns the whole file names its keys


def _place(parts: tuple[int | str, ...]) -> tuple[str, Any]:
    """A place of a campaign file as its author knows it, and the type of what stands there."""
    words: list[str] = []
    kind: Any = Campaign
    for part in parts:
        if get_origin(kind) not in (Union, UnionType):  # there the part names one of the types
            words.append(str(part))
        if _is_model(kind):
            known = kind.model_fields.get(part)
            kind = known and known.annotation
        else:  # a name that the author chose, a number in a list, one of several types
            kind = next((inner for inner in get_args(kind) if _is_model(inner)), None)
    return ".".join(words), kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
