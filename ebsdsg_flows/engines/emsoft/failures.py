"""Everything that is known to go wrong with EMsoft, as a numbered list with a rule for each entry.

EMsoft's programs return exit code 0 on their own fatal errors, so the text they print and the file
they leave decide; what was printed is recognised by the patterns here.  The numbers are stable:
they stand in the database and in the documentation (``docs/explanation/failure_codes.md``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from ebsdsg_flows.engines.base import EngineFailure


class Rule(StrEnum):
    """What should happen after a failure."""

    GIVE_UP = "give up: the same input fails again; correct it first"
    REPAIR = "repair the machine or its settings, then rerun"
    RETRY = "rerun"
    RESUME = "rerun; it continues after the last finished energy"
    MORE_TIME = "rerun with more time (--walltime); it continues after the last finished energy"
    SET_ASIDE = "rerun; the unfinished file is set aside, because two runs could not continue it"
    FEWER_THREADS = "rerun with fewer threads (--threads), or on a machine with more memory"


@dataclass(frozen=True)
class Kind:
    """One kind of failure.

    Parameters
    ----------
    code : its number.
    name : short name.
    text : what it means, for a person.
    rule : what should happen next.
    state : state in which a run ends because of it.
    pattern : regular expression of the output that shows it; empty if something else does.
    """

    code: int
    name: str
    text: str
    rule: Rule
    state: Literal["failed", "timed_out"] = "failed"
    pattern: str = ""

    def failure(
        self, detail: str = "", *, log_tail: str = "", exit_code: int | None = None
    ) -> EngineFailure:
        """The exception for one occurrence.

        Parameters
        ----------
        detail : what happened this time; added to the text.
        log_tail, exit_code : see :class:`ebsdsg_flows.engines.base.EngineFailure`.
        """
        return EngineFailure(
            self.code,
            self.name,
            f"{self.text}: {detail}" if detail else self.text,
            log_tail=log_tail,
            state=self.state,
            next_action=str(self.rule),
            exit_code=exit_code,
        )


MISSING_PROGRAM = Kind(
    100,
    "missing program",
    "an EMsoft program is not there or cannot be run",
    Rule.REPAIR,
    # what the dynamic loader says of a library, or of one that is too old
    pattern=r"error while loading shared libraries|not found \(required by",
)
CONFIGURATION = Kind(
    101,
    "configuration",
    "EMsoft's installation folder or a setting is wrong",
    Rule.REPAIR,
    pattern=r"STOP 99901|Cannot open file '[^']*(?:RandomSeeds\.data|templatecodes\.txt|\.cl)'",
)
NO_PLATFORM = Kind(
    110,
    "no OpenCL platform",
    "this machine has no OpenCL platform",
    Rule.REPAIR,
    pattern=r"clGetPlatformIDs: ?Error|non-existing platform id requested",
)
NO_DEVICE = Kind(
    111,
    "no OpenCL device",
    "the OpenCL platform has no such GPU",
    Rule.REPAIR,
    pattern=r"clGetDeviceIDs: ?Error|non-existing device id requested",
)
SEEDS = Kind(
    112,
    "not enough seeds",
    "the work group needs more random seeds than EMsoft's seed file holds",
    Rule.GIVE_UP,
    pattern=r"insufficient prime number seeds",
)
OPENCL = Kind(
    113,
    "OpenCL error",
    "an OpenCL call failed",
    Rule.RETRY,
    pattern=r"cl[A-Z][A-Za-z]+: ?Error|Unknown CL error code",
)
INEXPRESSIBLE = Kind(
    120,
    "crystal not expressible",
    "EMsoft cannot be given this crystal",
    Rule.GIVE_UP,
    pattern=r"={4,}Program Aborted={4,}",
)
CRYSTAL_REJECTED = Kind(
    121, "crystal file rejected", "EMmkxtal did not accept an answer", Rule.GIVE_UP
)
DIALOGUE_STUCK = Kind(
    122, "dialogue stuck", "EMmkxtal kept waiting instead of asking its next question", Rule.RETRY
)
CRYSTAL_DIFFERS = Kind(
    123, "wrong crystal", "what EMsoft has is not the crystal that was asked for", Rule.GIVE_UP
)
NAMELIST = Kind(
    130,
    "namelist refused",
    "EMsoft did not accept its input file",
    Rule.GIVE_UP,
    pattern=r"Cannot match namelist object name|Cannot open file '[^']*\.nml'"
    r"|file name is undefined|Unknown mode specified|pattern size numsx is zero",
)
INPUT_MISSING = Kind(
    131,
    "input missing",
    "a file that EMsoft reads is missing or holds something else",
    Rule.RETRY,
    pattern=r"Monte Carlo input file does not exist|This is not a proper HDF5 file"
    r"|does not contain (?:Monte Carlo|Master Pattern) header data|HDF_openFile:H5Fopen_f"
    r"|Error opening file: (?!.*EMsoftConfig)",
)
ALREADY_COMPLETE = Kind(
    132,
    "nothing to restart",
    "a restart was asked for on a finished file",
    Rule.RETRY,
    pattern=r"All energy levels are present",
)
DISK_FULL = Kind(
    140,
    "disk full",
    "the disk is full",
    Rule.REPAIR,
    pattern=r"No space left on device|Disk quota exceeded",
)
OUT_OF_MEMORY = Kind(
    141,
    "out of memory",
    "the machine has too little memory",
    Rule.FEWER_THREADS,
    pattern=r"Allocation would exceed memory limit|Cannot allocate memory"
    r"|(?:CL_MEM_OBJECT_ALLOCATION_FAILURE|CL_OUT_OF_(?:RESOURCES|HOST_MEMORY))|oom-kill",
)
FORTRAN = Kind(
    142,
    "Fortran run-time error",
    "the program stopped with a Fortran run-time error",
    Rule.GIVE_UP,
    pattern=r"Fortran runtime error",
)
HDF5 = Kind(
    143,
    "HDF5 error",
    "reading or writing an HDF5 file failed",
    Rule.RESUME,
    pattern=r"returned by routine (?:\w+:)?HDF_|readDatasetStringArray",
)
FATAL = Kind(
    144,
    "EMsoft fatal error",
    "EMsoft stopped with an error of its own",
    Rule.GIVE_UP,
    pattern=r"Fatal error in routine|Progam ended abnormally|Unrecoverable Error",
)
CRASHED = Kind(
    145,
    "crashed",
    "the program crashed",
    Rule.RESUME,
    pattern=r"Segmentation fault|SIGSEGV|SIGABRT|SIGFPE|SIGBUS|SIGILL",
)
KILLED = Kind(146, "killed", "the program was killed from outside", Rule.RESUME)
REFUSED = Kind(
    147,
    "refused by the system",
    "the system refused to read or write",
    Rule.RETRY,
)
TIME_OUT = Kind(
    150, "time-out", "the stage's time limit was reached", Rule.MORE_TIME, state="timed_out"
)
QUEUE_ENDED = Kind(
    151,
    "ended by the queue",
    "the queueing system asked the worker to end",
    Rule.MORE_TIME,
    state="timed_out",
)
HUNG = Kind(152, "hung", "the program used no processor time", Rule.RESUME)
NO_SUCCESS_LINE = Kind(
    160, "no success line", "the program ended without saying that it had finished", Rule.RESUME
)
WRONG_FILE = Kind(
    161,
    "finished but wrong file",
    "the program said that it finished, but its file is wrong",
    Rule.RETRY,
)

KINDS: tuple[Kind, ...] = (
    MISSING_PROGRAM,
    CONFIGURATION,
    NO_PLATFORM,
    NO_DEVICE,
    SEEDS,
    OPENCL,
    INEXPRESSIBLE,
    CRYSTAL_REJECTED,
    DIALOGUE_STUCK,
    CRYSTAL_DIFFERS,
    NAMELIST,
    INPUT_MISSING,
    ALREADY_COMPLETE,
    DISK_FULL,
    OUT_OF_MEMORY,
    FORTRAN,
    HDF5,
    FATAL,
    CRASHED,
    KILLED,
    REFUSED,
    TIME_OUT,
    QUEUE_ENDED,
    HUNG,
    NO_SUCCESS_LINE,
    WRONG_FILE,
)
"""All of them; the numbers are stable."""

_BY_CAUSE = (
    MISSING_PROGRAM,
    DISK_FULL,
    OUT_OF_MEMORY,
    INEXPRESSIBLE,
    CONFIGURATION,
    NAMELIST,
    NO_PLATFORM,
    NO_DEVICE,
    SEEDS,
    OPENCL,
    INPUT_MISSING,
    ALREADY_COMPLETE,
    FORTRAN,
    HDF5,
    FATAL,
    CRASHED,
)
"""Order in which output is searched: what explains most comes first."""


def kind_of(code: int) -> Kind:
    """The kind of failure with that number.

    Raises
    ------
    KeyError
        If there is none.
    """
    return {kind.code: kind for kind in KINDS}[code]


def recognise(output: str) -> tuple[Kind, str] | None:
    """The failure that a program's output shows.

    Parameters
    ----------
    output : what the program printed, both streams.

    Returns
    -------
    Its kind and the line that shows it; ``None`` if the output shows none.
    """
    for kind in _BY_CAUSE:
        if found := re.search(kind.pattern, output):
            start = output.rfind("\n", 0, found.start()) + 1
            end = output.find("\n", found.end())
            line = output[start : end if end >= 0 else len(output)]
            return kind, " ".join(line.replace("---->", "").split())[:300]
    return None
