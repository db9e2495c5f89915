"""What a campaign file says about the simulations: engines, parameters and Debye-Waller factors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from ebsdsg_flows.resources import Section

if TYPE_CHECKING:
    from ebsdsg_flows.engines import Engine
    from ebsdsg_sim.parameters import SimulationParameters


def _checked_groups(value: tuple[int, ...]) -> tuple[int, ...]:
    wrong = [g for g in value if not 1 <= g <= 230]
    if wrong:
        raise ValueError(f"{wrong} are not space groups (1 to 230)")
    return value


SpaceGroups = Annotated[tuple[int, ...], AfterValidator(_checked_groups)]
"""Numbers from 1 to 230."""


class _EngineChoice(Section):
    engine: Literal["builtin", "emsoft"] = "builtin"
    engine_options: dict[str, Any] = Field(default_factory=dict)

    def make_engine(self) -> Engine:
        """The engine with its options."""
        from ebsdsg_flows.engines import make_engine

        return make_engine(self.engine, **self.engine_options)


class EngineOverride(_EngineChoice):
    """Another engine for some of the structures.

    Parameters
    ----------
    groups : true space groups that it is for; empty is for all.
    materials : identifiers that it is for; empty is for all.
    engine, engine_options : see :class:`SimulationPlan`.
    """

    groups: SpaceGroups = ()
    materials: tuple[str, ...] = ()
    engine: Literal["builtin", "emsoft"]

    @model_validator(mode="after")
    def _is_for_some(self) -> Self:
        if not self.groups and not self.materials:
            raise ValueError("an override must say for which groups or materials it is")
        return self


class DebyeWallerRange(Section):
    """Debye-Waller factors drawn uniformly for every site of every structure.

    Parameters
    ----------
    low, high : limits [nm^2].
    seed : chooses the numbers.
    """

    low: float = Field(gt=0, allow_inf_nan=False)
    high: float = Field(gt=0, allow_inf_nan=False)
    seed: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low = {self.low} must be below high = {self.high}")
        return self


class Variant(Section):
    """Structures simulated once more, with other Debye-Waller factors.

    The Monte Carlo does not depend on them: with EMsoft it is not computed again.

    Parameters
    ----------
    debye_waller : of every atom [nm^2], or the range from which they are drawn.
    groups : true space groups that take part; empty is all.
    """

    debye_waller: DebyeWallerRange | float
    groups: SpaceGroups = ()

    @field_validator("debye_waller")
    @classmethod
    def _above_zero(cls, value: DebyeWallerRange | float) -> DebyeWallerRange | float:
        # not a Field of the number: the message would be that it is no range
        if isinstance(value, float) and not 0 < value < math.inf:
            raise ValueError(f"{value} is not a finite number above 0")
        return value


class SimulationPlan(_EngineChoice):
    """How each structure becomes a master pattern.

    Parameters
    ----------
    engine : name of the engine: ``builtin`` needs nothing beside this package, ``emsoft`` an
        installation of EMsoft on the workers.
    engine_options : fields of the engine's class, such as
        :class:`ebsdsg_flows.engines.emsoft.EMsoftEngine`.
    overrides : :class:`EngineOverride` each; of those that are for a structure the first counts.
    debye_waller : Debye-Waller factor of every atom [nm^2].
    parameters : fields of :class:`ebsdsg_sim.parameters.SimulationParameters`, the same for all
        engines.
    """

    overrides: tuple[EngineOverride, ...] = ()
    debye_waller: float = Field(default=0.004, gt=0, allow_inf_nan=False)
    parameters: dict[str, Any] = Field(default_factory=dict, validate_default=True)

    @field_validator("parameters")
    @classmethod
    def _known_parameters(cls, value: dict[str, Any]) -> dict[str, Any]:
        from ebsdsg_sim.parameters import SimulationParameters

        return SimulationParameters.from_dict(value).to_dict()

    @model_validator(mode="after")
    def _engines_can_do_it(self) -> Self:
        for engine in self.make_engines():
            engine.check(self.simulation_parameters)
        return self

    def make_engines(self) -> list[Engine]:
        """The usual engine, then those of the overrides in their order, with their options."""
        return [choice.make_engine() for choice in (self, *self.overrides)]

    def engine_number(self, material_id: str, space_group: Callable[[], int]) -> int:
        """Which of :meth:`make_engines` simulates a structure.

        Parameters
        ----------
        material_id : its identifier.
        space_group : gives its true space group; called only if an override asks for it.
        """
        for number, override in enumerate(self.overrides, 1):
            if override.materials and material_id not in override.materials:
                continue
            if not override.groups or space_group() in override.groups:
                return number
        return 0

    @property
    def simulation_parameters(self) -> SimulationParameters:
        """The parameters as the physics layer takes them."""
        from ebsdsg_sim.parameters import SimulationParameters

        return SimulationParameters.from_dict(self.parameters)
