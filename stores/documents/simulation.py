"""A simulation, the runs that tried to make it, and the master pattern that came out.

A simulation is identified by its inputs; its document says how far it is.  Each attempt at it is a
run, with its own document.  The master pattern itself is a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self
from uuid import uuid4

from pydantic import Field, model_validator

from stores.documents.base import Document, FileReference, GroupNumber, Hash, Name, Part, Time
from stores.documents.structure import crystal_identity
from stores.identity import content_hash
from stores.states import State, now


def simulation_key(
    crystal: Mapping[str, Any], parameters: Mapping[str, Any], engine: str, physics_version: str
) -> str:
    """Identity of a simulation.

    Parameters
    ----------
    crystal : crystal dictionary; its name does not count.
    parameters : all simulation parameters.
    engine : name of what computes it.
    physics_version : changes when the engine's answer changes, not with every release.

    Returns
    -------
    64 hexadecimal digits.
    """
    return content_hash(
        {
            "crystal": crystal_identity(crystal),
            "parameters": parameters,
            "engine": engine,
            "physics_version": physics_version,
        }
    )


class EngineReference(Part):
    """What computes a simulation.

    Attributes
    ----------
    name : ``builtin`` or ``emsoft``.
    physics_version : part of the identity.
    version : release of the program, for the record.
    """

    name: Name
    physics_version: Name
    version: str = ""


class Failure(Part):
    """Why a run ended badly, as data.

    Attributes
    ----------
    code : number of the failure in its engine's list.
    name : its short name.
    message : one sentence for a person.
    log_tail : last lines of the log.
    """

    code: int
    name: Name
    message: str
    log_tail: str = ""


class Owner(Part):
    """The process that holds a claim.

    Attributes
    ----------
    host : name of the machine.
    pid : process id.
    pid_started : start time of the process as the kernel counts it, so that a reused pid is known.
    namespace : boot and pid namespace in which the pid has its meaning; ``None`` if unknown.
    """

    host: Name
    pid: int
    pid_started: str | None = None
    namespace: str | None = None


class Claim(Part):
    """Who computes a simulation or a training at present: the attempt and its process."""

    run: Name
    owner: Owner
    since: Time = Field(default_factory=now)


class Attempt(Part):
    """One try at a simulation, as remembered by the simulation.

    Attributes
    ----------
    number : counted from 1.
    state : of this attempt.
    run : key of the run's document, once it began.
    energies_done : energies finished when it ended.
    failure_code : number of the failure, if it failed.
    walltime, threads : what this try is given instead of the settings' values: time of one stage
        [s], and threads.
    """

    number: int = Field(ge=1)
    state: State = State.WAITING
    run: str | None = None
    host: str | None = None
    started: Time | None = None
    finished: Time | None = None
    energies_done: int | None = Field(default=None, ge=0)
    failure_code: int | None = None
    reason: str = ""
    walltime: float | None = Field(default=None, gt=0)
    threads: int | None = Field(default=None, ge=1)


class SimulationDocument(Document):
    """One structure, one set of parameters, one engine: one master pattern.

    Attributes
    ----------
    crystal : the crystal that is simulated; its Debye–Waller factors may differ from those of the
        structure.
    space_group, relabelled : labels copied from the structure, for counting.
    stage : stage that is next or running (``monte carlo``, ``master pattern``).
    attempts : one entry per try, the last one being the current.
    next_action : what the rules say should happen after a bad end, for people and for reruns.
    claim : who computes it now.
    """

    collection: ClassVar[str] = "simulations"

    material_id: Name
    formula: Name
    crystal: dict[str, Any]
    parameters: dict[str, Any]
    engine: EngineReference
    space_group: GroupNumber
    relabelled: GroupNumber
    state: State = State.WAITING
    stage: Name = "master pattern"
    attempts: list[Attempt] = Field(default_factory=lambda: [Attempt(number=1)], min_length=1)
    next_action: str = ""
    claim: Claim | None = None
    n_energies: int | None = Field(default=None, ge=1)
    energies_done: int = Field(default=0, ge=0)

    @classmethod
    def of(
        cls,
        *,
        material_id: str,
        formula: str,
        crystal: Mapping[str, Any],
        parameters: Mapping[str, Any],
        engine: EngineReference,
        space_group: int,
        relabelled: int,
        **fields: Any,
    ) -> Self:
        """Waiting simulation with the key that its inputs give."""
        key = simulation_key(crystal, parameters, engine.name, engine.physics_version)
        return cls(
            key=key,
            material_id=material_id,
            formula=formula,
            crystal=dict(crystal),
            parameters=dict(parameters),
            engine=engine,
            space_group=space_group,
            relabelled=relabelled,
            **fields,
        )

    @model_validator(mode="after")
    def _key_follows_from_inputs(self) -> Self:
        expected = simulation_key(
            self.crystal, self.parameters, self.engine.name, self.engine.physics_version
        )
        if self.key != expected:
            raise ValueError(f"key {self.key} is not the hash of the inputs, {expected}")
        if (self.claim is not None) != (self.state is State.RUNNING):
            raise ValueError(f"a claim belongs to a running simulation; this one is {self.state}")
        return self

    def _summary(self) -> dict[str, Any]:
        return {
            "formula": self.formula,
            "material_id": self.material_id,
            "engine": self.engine.name,
            "state": self.state,
            "attempt": len(self.attempts),
        }

    def _facts(self) -> dict[str, Any]:
        given, last = self.parameters, self.attempts[-1]
        factors = sorted({site["debye_waller"] for site in self.crystal["sites"]})
        return {
            "material": f"{self.formula}, {self.material_id}",
            "space group": f"{self.space_group}, relabelled {self.relabelled}",
            "state": f"{self.state} at {self.stage}, {self.energies_done} of "
            f"{self.n_energies or '?'} energies",
            "attempts": f"{len(self.attempts)}, the last {last.state}"
            + (f" on {last.host}" if last.host else "")
            + (f", failure {last.failure_code}" if last.failure_code is not None else ""),
            "next": self.next_action,
            "engine": f"{self.engine.name}, physics {self.engine.physics_version}",
            "parameters": f"{given.get('voltage', '?')} kV, npx {given.get('npx', '?')}, dmin "
            f"{given.get('dmin', '?')} nm, Debye–Waller factors "
            f"{', '.join(f'{factor:g}' for factor in factors)} nm²",
        }


class RunDocument(Document):
    """One attempt of one program at one stage; the key is a uuid.

    Attributes
    ----------
    simulation : key of the simulation, ``None`` for work that is none.
    queue_id : job id of the queueing system.
    fw_id : number of the firework in which it runs, ``None`` outside FireWorks.
    heartbeat : last sign of life.
    energies_done, n_energies : progress.
    seconds_left : estimate for the present stage, while it runs.
    next_stage : of a completed run, the stage of its simulation that is to come.
    files : what it wrote, once checked.
    cpu_seconds, wall_seconds : what it took.
    """

    collection: ClassVar[str] = "runs"

    key: Name = Field(default_factory=lambda: str(uuid4()))
    simulation: Hash | None = None
    material_id: str | None = None
    stage: Name
    program: Name
    attempt: int = Field(default=1, ge=1)
    owner: Owner
    queue_id: str | None = None
    fw_id: int | None = None
    state: State = State.RUNNING
    started: Time = Field(default_factory=now)
    finished: Time | None = None
    heartbeat: Time = Field(default_factory=now)
    energies_done: int = Field(default=0, ge=0)
    n_energies: int | None = Field(default=None, ge=1)
    message: str = ""
    seconds_left: float | None = Field(default=None, ge=0)
    threads: int | None = Field(default=None, ge=1)
    gpu: str | None = None
    exit_code: int | None = None
    failure: Failure | None = None
    next_stage: str | None = None
    files: list[FileReference] = Field(default_factory=list)
    cpu_seconds: float | None = Field(default=None, ge=0)
    wall_seconds: float | None = Field(default=None, ge=0)

    def _summary(self) -> dict[str, Any]:
        done = f"{self.energies_done}/{self.n_energies or '?'}"
        return {
            "stage": repr(self.stage),
            "program": self.program,
            "state": self.state,
            "energies": done,
            "host": self.owner.host,
        }

    def _facts(self) -> dict[str, Any]:
        wall, cpu = self.wall_seconds, self.cpu_seconds
        ended = self.failure
        return {
            "work": f"{self.stage} by {self.program}, attempt {self.attempt}",
            "material": self.material_id,
            "state": f"{self.state}, {self.energies_done} of {self.n_energies or '?'} energies",
            "failure": None if ended is None else f"{ended.code} {ended.name}: {ended.message}",
            "where": f"{self.owner.host}, process {self.owner.pid}"
            + (f", queue job {self.queue_id}" if self.queue_id else ""),
            "began": f"{self.started:%Y-%m-%d %H:%M:%S} UTC",
            "took": None
            if wall is None
            else f"{wall:.0f} s" + ("" if cpu is None else f", {cpu:.0f} CPU-seconds"),
            "files": ", ".join(f"{file.path} ({file.bytes / 1e6:.1f} MB)" for file in self.files),
        }


class MasterPatternDocument(Document):
    """A master pattern that was read back and checked; the key is its simulation's.

    Attributes
    ----------
    file : the HDF5 file.
    npx : half width of the square Lambert grid.
    energies : centres of the energy bins [keV], ascending.
    engine : what computed it, with the version that the program itself wrote down.
    beams : mean number of strong beams per energy, in the order of ``energies``.
    resumed_after_energies : energies, from the highest, that were made before the first restart of
        the program; ``None`` if one run made all of them.
    restart : what was done to the energies made by restarts; empty if there are none.
    """

    collection: ClassVar[str] = "master_patterns"

    simulation: Hash
    material_id: Name
    run: Name
    file: FileReference
    npx: int = Field(ge=1)
    n_sites: int = Field(ge=1)
    energies: list[float] = Field(min_length=1)
    engine: EngineReference
    parameters: dict[str, Any]
    beams: list[float] = Field(default_factory=list)
    cpu_seconds: float | None = Field(default=None, ge=0)
    resumed_after_energies: int | None = Field(default=None, ge=1)
    restart: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.key != self.simulation:
            raise ValueError("key is not the simulation's")
        if self.beams and len(self.beams) != len(self.energies):
            raise ValueError(f"{len(self.beams)} beam counts for {len(self.energies)} energies")
        if any(b <= a for a, b in zip(self.energies, self.energies[1:], strict=False)):
            raise ValueError("energies are not ascending")
        return self

    def _summary(self) -> dict[str, Any]:
        side = 2 * self.npx + 1
        return {
            "material_id": self.material_id,
            "grid": f"{side}x{side}",
            "energies": f"{self.energies[0]:g}-{self.energies[-1]:g} keV ({len(self.energies)})",
            "engine": " ".join(filter(None, (self.engine.name, self.engine.version))),
            **({"restart": self.restart} if self.restart else {}),
        }
