"""A geometry that is not the one assumed: pattern centre and tilt differ from pattern to pattern.

While the beam scans the sample the pattern centre moves over the screen; and both it and the tilt
are known only to so much.  Directions change, which a shift of the image would not give: the
geometry is changed where patterns are projected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ebsdsg_ml.imperfections.chance import Amount, Chance, check_amount

if TYPE_CHECKING:
    from ebsdsg_sim.detector import GeometryShift


@dataclass(frozen=True)
class GeometryJitter:
    """Normal deviates added to pattern centre and tilt.

    Parameters
    ----------
    pcx, pcy, pcz : standard deviations of Bruker's pattern centre, in fractions of the width, the
        height and the height.
    tilt : standard deviation of the detector's tilt [degrees].
    """

    pcx: Amount = 0.0
    pcy: Amount = 0.0
    pcz: Amount = 0.0
    tilt: Amount = 0.0

    def __post_init__(self) -> None:
        for name, most in (("pcx", 0.5), ("pcy", 0.5), ("pcz", 0.2), ("tilt", 20.0)):
            value = check_amount(f"geometry.{name}", getattr(self, name), 0, most)
            object.__setattr__(self, name, value)

    def shifts(self, seed: int, indices: Sequence[int]) -> GeometryShift:
        """The shift of each pattern, for :meth:`ebsdsg_sim.projection.Projector.patterns`.

        Deviates beyond three standard deviations are cut off there.
        """
        from ebsdsg_sim.detector import GeometryShift

        chance = Chance(seed, indices)
        deviates = chance.normal("geometry", 4).clamp_(-3, 3).double().numpy()
        for column, name in enumerate(("pcx", "pcy", "pcz", "tilt")):
            deviates[:, column] *= chance.amounts(f"geometry.{name}", getattr(self, name)).numpy()
        return GeometryShift(deviates[:, :3], deviates[:, 3])
