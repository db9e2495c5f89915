"""EMsoft's input files, typed: every key is written, and everything is checked before a run.

A key that is left out takes a default that differs between EMsoft's code and its templates, so none
is left out here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from ebsdsg_flows.engines.emsoft.failures import NAMELIST
from ebsdsg_sim.emsoft_layout import nominal_electrons
from ebsdsg_sim.parameters import SimulationParameters

LARGEST_INTEGER = 2**31 - 1
BATCH = 4
"""EMMCOpenCL fails with fewer electrons per work item."""


@dataclass(frozen=True)
class Namelist:
    """A Fortran namelist; the fields are its keys."""

    group: ClassVar[str]

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str):
                if not value.isascii() or "'" in value or not value or len(value) > 400:
                    self._refuse(field.name, "1 to 400 ASCII characters without quotes")
            elif isinstance(value, int):
                if abs(value) > LARGEST_INTEGER:
                    self._refuse(field.name, f"at most {LARGEST_INTEGER}")
            elif not math.isfinite(value):
                self._refuse(field.name, "a finite number")

    def _refuse(self, name: str, allowed: str) -> None:
        raise NAMELIST.failure(f"&{self.group} {name} = {getattr(self, name)!r}: must be {allowed}")

    def _positive(self, *names: str) -> None:
        for name in names:
            if not getattr(self, name) > 0:
                self._refuse(name, "positive")

    def text(self) -> str:
        """The file's content."""
        lines = [f" {f.name} = {_fortran(getattr(self, f.name))}," for f in fields(self)]
        return "\n".join([f" &{self.group}", *lines, " /", ""])

    def write(self, path: Path) -> None:
        """Write the file; its name must end in ``.nml``, or EMsoft takes it for JSON."""
        if path.suffix != ".nml":
            raise ValueError(f"{path}: the name of a namelist file must end in .nml")
        path.write_text(self.text(), encoding="ascii")


@dataclass(frozen=True)
class MonteCarloNamelist(Namelist):
    """``&MCCLdata`` of EMMCOpenCL."""

    group: ClassVar[str] = "MCCLdata"

    xtalname: str
    dataname: str
    totnum_el: int
    multiplier: int
    EkeV: float
    Ehistmin: float
    Ebinsize: float
    depthmax: float
    depthstep: float
    numsx: int
    sig: float
    platid: int = 1
    devid: int = 1
    num_el: int = 10
    globalworkgrpsz: int = 150
    mode: str = "full"
    omega: float = 0.0
    sigstart: float = 70.0
    sigend: float = 70.0
    sigstep: float = 1.0
    ivolx: int = 1001
    ivoly: int = 1001
    ivolz: int = 101
    ivolstepx: float = 1.0
    ivolstepy: float = 1.0
    ivolstepz: float = 1.0
    Notify: str = "Off"
    MCmode: str = "CSDA"
    stdout: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("totnum_el", "multiplier", "EkeV", "Ehistmin", "Ebinsize", "depthmax")
        self._positive("depthstep", "platid", "devid", "globalworkgrpsz")
        if self.mode != "full":
            self._refuse("mode", "'full' for a master pattern")
        if self.numsx % 2 == 0 or self.numsx < 1:
            self._refuse("numsx", "odd")
        if self.num_el < BATCH:
            self._refuse("num_el", f"at least {BATCH}")
        if not self.Ehistmin < self.EkeV:
            self._refuse("Ehistmin", "below EkeV")
        if not 0 <= self.sig < 90:
            self._refuse("sig", "in [0, 90)")

    @classmethod
    def of(
        cls, parameters: SimulationParameters, xtal: str, data: str, platform: int, device: int
    ) -> MonteCarloNamelist:
        """For a simulation."""
        multiplier, total = nominal_electrons(parameters.n_electrons)
        return cls(
            xtalname=xtal,
            dataname=data,
            totnum_el=total,
            multiplier=multiplier,
            platid=platform,
            devid=device,
            **_monte_carlo_values(parameters),
        )


@dataclass(frozen=True)
class CpuMonteCarloNamelist(Namelist):
    """``&MCdata`` of EMMC; ``num_el`` counts the electrons of one thread."""

    group: ClassVar[str] = "MCdata"

    xtalname: str
    dataname: str
    num_el: int
    nthreads: int
    EkeV: float
    Ehistmin: float
    Ebinsize: float
    depthmax: float
    depthstep: float
    numsx: int
    sig: float
    omega: float = 0.0
    primeseed: int = 932117
    MCmode: str = "CSDA"
    stdout: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("num_el", "nthreads", "EkeV", "Ehistmin", "Ebinsize", "depthmax")
        if self.numsx % 2 == 0 or self.numsx < 1:
            self._refuse("numsx", "odd")

    @classmethod
    def of(
        cls, parameters: SimulationParameters, xtal: str, data: str, threads: int
    ) -> CpuMonteCarloNamelist:
        """For a simulation."""
        return cls(
            xtalname=xtal,
            dataname=data,
            num_el=-(-parameters.n_electrons // threads),
            nthreads=threads,
            **_monte_carlo_values(parameters),
        )


@dataclass(frozen=True)
class BetheNamelist(Namelist):
    """``&Bethelist``, the cut-offs of the strong and weak beams."""

    group: ClassVar[str] = "Bethelist"

    c1: float
    c2: float
    c3: float
    sgdbdiff: float = 1.0

    @classmethod
    def of(cls, parameters: SimulationParameters) -> BetheNamelist:
        """For a simulation."""
        return cls(*parameters.bethe)


@dataclass(frozen=True)
class MasterNamelist(Namelist):
    """``&EBSDmastervars`` of EMEBSDmaster."""

    group: ClassVar[str] = "EBSDmastervars"

    dmin: float
    npx: int
    nthreads: int
    energyfile: str
    BetheParametersFile: str
    restart: bool = False
    doLegendre: bool = False
    Notify: str = "Off"
    copyfromenergyfile: str = "undefined"
    h5copypath: str = "undefined"
    uniform: bool = False
    useEnergyWeighting: bool = False
    combinesites: bool = False
    Esel: int = -1
    stdout: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        # nthreads = 0 means "all" by its documentation and one by its behaviour
        self._positive("dmin", "npx", "nthreads")
        for name in ("energyfile", "BetheParametersFile"):
            if getattr(self, name) == "undefined":
                self._refuse(name, "the name of a file")

    @classmethod
    def of(
        cls,
        parameters: SimulationParameters,
        data: str,
        bethe: str,
        threads: int,
        *,
        restart: bool = False,
    ) -> MasterNamelist:
        """For a simulation."""
        return cls(
            dmin=parameters.dmin,
            npx=parameters.npx,
            nthreads=threads,
            energyfile=data,
            BetheParametersFile=bethe,
            restart=restart,
        )


@dataclass(frozen=True)
class PatternNamelist(Namelist):
    """``&EBSDdata`` of EMEBSD, for float patterns without detector dictionary processing."""

    group: ClassVar[str] = "EBSDdata"

    masterfile: str
    anglefile: str
    datafile: str
    numsx: int
    numsy: int
    L: float
    delta: float
    energymin: float
    energymax: float
    thetac: float = 10.0
    xpc: float = 0.0
    ypc: float = 0.0
    alphaBD: float = 0.0
    includebackground: str = "y"
    anglefiletype: str = "orientations"
    eulerconvention: str = "tsl"
    bitdepth: str = "float"
    beamcurrent: float = 150.0
    dwelltime: float = 100.0
    poisson: str = "n"
    binning: int = 1
    applyDeformation: str = "n"
    Fframe: str = "crys"
    scalingmode: str = "not"
    gammavalue: float = 1.0
    makedictionary: str = "n"
    maskpattern: str = "n"
    maskradius: int = 240
    hipassw: float = 0.05
    nregions: int = 10
    nthreads: int = 1
    energyaverage: int = 0
    spatialaverage: str = "n"
    outputformat: str = "gui"
    energyfile: str = "undefined"
    stdout: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("numsx", "numsy", "L", "delta", "nthreads")
        if self.bitdepth not in ("8bit", "float"):
            # EMEBSD takes any other word, says nothing, and writes nothing useful
            self._refuse("bitdepth", "'8bit' or 'float'")
        if not self.energymin <= self.energymax:
            self._refuse("energymin", "at most energymax")


def _monte_carlo_values(p: SimulationParameters) -> dict[str, Any]:
    return {
        "EkeV": p.voltage,
        "Ehistmin": p.energy_min,
        "Ebinsize": p.energy_step,
        "depthmax": p.depth_max,
        "depthstep": p.depth_step,
        "numsx": p.mc_pixels,
        "sig": p.sample_tilt,
    }


def _fortran(value: str | bool | int | float) -> str:
    if isinstance(value, bool):
        return ".TRUE." if value else ".FALSE."
    return f"'{value}'" if isinstance(value, str) else repr(value)
