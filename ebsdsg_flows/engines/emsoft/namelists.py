"""EMsoft's input files, one class for each program: every key, and what its value may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ebsdsg_flows.engines.emsoft.namelist import LARGEST_INTEGER, Namelist
from ebsdsg_sim.emsoft_layout import nominal_electrons
from ebsdsg_sim.parameters import SimulationParameters

BATCH = 4
"""EMMCOpenCL fails with fewer electrons per work item."""


@dataclass(frozen=True)
class _ElectronsNamelist(Namelist):
    """The keys that both Monte Carlo programs have."""

    xtalname: str
    dataname: str
    EkeV: float
    Ehistmin: float
    Ebinsize: float
    depthmax: float
    depthstep: float
    numsx: int
    sig: float

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("EkeV", "Ehistmin", "Ebinsize", "depthmax", "depthstep")
        if self.numsx % 2 == 0 or self.numsx < 1:
            self._refuse("numsx", "odd")
        if not self.Ehistmin < self.EkeV:
            self._refuse("Ehistmin", "below EkeV")
        if not 0 <= self.sig < 90:
            self._refuse("sig", "in [0, 90)")


@dataclass(frozen=True)
class MonteCarloNamelist(_ElectronsNamelist):
    """``&MCCLdata`` of EMMCOpenCL."""

    group: ClassVar[str] = "MCCLdata"

    totnum_el: int
    multiplier: int
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
        self._positive("totnum_el", "multiplier", "platid", "devid", "globalworkgrpsz")
        if self.mode != "full":
            self._refuse("mode", "'full' for a master pattern")
        if self.num_el < BATCH:
            self._refuse("num_el", f"at least {BATCH}")

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
class CpuMonteCarloNamelist(_ElectronsNamelist):
    """``&MCdata`` of EMMC; ``num_el`` counts the electrons of one thread."""

    group: ClassVar[str] = "MCdata"

    num_el: int
    nthreads: int
    omega: float = 0.0
    primeseed: int = 932117
    MCmode: str = "CSDA"
    stdout: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("num_el", "nthreads")
        if self.num_el * self.nthreads > LARGEST_INTEGER:
            self._refuse("num_el", f"at most {LARGEST_INTEGER} electrons for all threads together")

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
