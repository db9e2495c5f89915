"""Lightning's data-parallel strategy for processes that were started and joined by us."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning.fabric.plugins.environments import ClusterEnvironment
from lightning.pytorch.strategies import DDPStrategy

if TYPE_CHECKING:
    from ebsdsg_ml.ranks import Rank


class RankEnvironment(ClusterEnvironment):
    """Tells Lightning which rank this process is.

    Parameters
    ----------
    rank : this process.
    """

    def __init__(self, rank: Rank) -> None:
        self.rank = rank

    @property
    def creates_processes_externally(self) -> bool:
        """Lightning is to start none."""
        return True

    @property
    def main_address(self) -> str:
        """Not used: the group exists already."""
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        """Not used: the group exists already."""
        return 0

    @staticmethod
    def detect() -> bool:
        """Never found by looking."""
        return False

    def world_size(self) -> int:
        """Number of ranks."""
        return self.rank.of

    def set_world_size(self, size: int) -> None:
        """Nothing to set: it is known."""

    def global_rank(self) -> int:
        """Number of this rank."""
        return self.rank.number

    def set_global_rank(self, rank: int) -> None:
        """Nothing to set: it is known."""

    def local_rank(self) -> int:
        """Number of this rank; all are on one machine."""
        return self.rank.number

    def node_rank(self) -> int:
        """One machine."""
        return 0


class RankStrategy(DDPStrategy):
    """Gradients are averaged over the ranks; no process is started, no thread count changed.

    Parameters
    ----------
    rank : this process, a member of its group already.
    """

    def __init__(self, rank: Rank) -> None:
        super().__init__(cluster_environment=RankEnvironment(rank))

    def _configure_launcher(self) -> None:
        self._launcher = None
