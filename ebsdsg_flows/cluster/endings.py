"""How an attempt is ended from outside, as numbered failures of every engine.

The codes are listed in ``docs/explanation/failure_codes.md``.  What ends as ``lost`` is nobody's
fault and is sent again by the janitor; the others wait for ``ebsdsg rerun``.
"""

from __future__ import annotations

from dataclasses import dataclass

from stores.documents import Failure
from stores.states import State

MORE_TIME = "rerun with more time (--walltime, and the queue's); finished energies are kept"


@dataclass(frozen=True)
class Ending:
    """One way in which attempts are ended.

    Parameters
    ----------
    code, name : number and short name of the failure.
    text : what it means, for a person.
    state : in which the run ends.
    next_action : what should happen next.
    """

    code: int
    name: str
    text: str
    state: State
    next_action: str = ""

    def failure(self, detail: str = "", log_tail: str = "") -> Failure:
        """The failure as it is stored.

        Parameters
        ----------
        detail : what happened this time; added to the text.
        log_tail : last lines of the log.
        """
        message = f"{self.text}: {detail}" if detail else self.text
        return Failure(code=self.code, name=self.name, message=message, log_tail=log_tail)


LOST = Ending(0, "lost", "the worker died without a word", State.LOST)
TIME_OUT = Ending(
    11, "time-out", "the time limit of this attempt was reached", State.TIMED_OUT, MORE_TIME
)
ASKED = Ending(
    12, "asked to end", "the worker was asked to end (SIGTERM)", State.TIMED_OUT, MORE_TIME
)
WALL_TIME = Ending(
    20, "wall time", "the queue's time limit was reached", State.TIMED_OUT, MORE_TIME
)
CANCELLED = Ending(
    21, "cancelled", "the queue's job was cancelled", State.FAILED, "rerun if it is still wanted"
)
NODE_FAILED = Ending(22, "node failed", "the node failed or was taken down", State.LOST)
PREEMPTED = Ending(23, "preempted", "the queue took the node for another job", State.LOST)
REQUEUED = Ending(
    24, "requeued", "the queue took the job off its node, to start it again", State.LOST
)
OUT_OF_MEMORY = Ending(
    25,
    "out of memory",
    "the queue killed the job because it took too much memory",
    State.FAILED,
    "rerun with more memory in the queue adapter, or with fewer threads (--threads)",
)
