"""All imperfections in the order in which they happen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ebsdsg_ml.imperfections.blur import Blur
from ebsdsg_ml.imperfections.chance import (
    Amount,
    Chance,
    ImperfectionError,
    check_amount,
)
from ebsdsg_ml.imperfections.correction import DynamicCorrection, StaticCorrection
from ebsdsg_ml.imperfections.counts import Counts
from ebsdsg_ml.imperfections.distortion import LensDistortion
from ebsdsg_ml.imperfections.geometry import GeometryJitter
from ebsdsg_ml.imperfections.hot_pixels import HotPixels
from ebsdsg_ml.imperfections.mask import CircularMask
from ebsdsg_ml.imperfections.quantisation import Quantisation
from ebsdsg_ml.imperfections.response import Response
from ebsdsg_ml.imperfections.saturation import Saturation

if TYPE_CHECKING:
    from ebsdsg_sim.projection import Projector

#: Patterns worked on together.
BATCH = 16


@dataclass(frozen=True)
class DetectorImperfections:
    """What a microscope's detector makes of a pattern; every part may be left out.

    The parts work in this order, which is that of the signal: geometry (where patterns are
    projected), lens distortion, counts, blur, response, hot pixels, saturation; then what
    acquisition software does: static and dynamic background correction, mask, grey levels.  The
    electrons hit the phosphor before their light spreads, so their noise is blurred; the lens comes
    before them here although it acts on the light, because resampling noise would smooth it.

    Parameters
    ----------
    geometry, distortion, counts, blur, response, hot_pixels, saturation : on the way to the file.
    static, dynamic, mask, quantisation : on the way to the user.
    energy_shift : by how much the electrons' energies are above the simulated ones [keV], for
        :class:`ebsdsg_sim.projection.Projector`; a range is drawn from once per master pattern.

    Raises
    ------
    ImperfectionError
        If a value is out of range.
    """

    energy_shift: Amount = 0.0
    geometry: GeometryJitter | None = None
    distortion: LensDistortion | None = None
    counts: Counts | None = None
    blur: Blur | None = None
    response: Response | None = None
    hot_pixels: HotPixels | None = None
    saturation: Saturation | None = None
    static: StaticCorrection | None = None
    dynamic: DynamicCorrection | None = None
    mask: CircularMask | None = None
    quantisation: Quantisation | None = None

    def __post_init__(self) -> None:
        value = check_amount("energy_shift", self.energy_shift, -5, 5)
        object.__setattr__(self, "energy_shift", value)

    def projector_options(self, seed: int, master_pattern: int) -> dict[str, float]:
        """Keyword arguments for the projector of one master pattern.

        Parameters
        ----------
        seed : of the data set.
        master_pattern : its number in the data set.
        """
        chance = Chance(seed, [master_pattern])
        return {"energy_shift": float(chance.amounts("energy_shift", self.energy_shift)[0])}

    def patterns(
        self, projector: Projector, quaternions: ArrayLike, seed: int, indices: Sequence[int]
    ) -> Tensor:
        """Project patterns as this detector gives them.

        Parameters
        ----------
        projector : with background, as electrons make it; its ``energy_shift`` is the caller's
            (:meth:`projector_options`).
        quaternions : (n, 4) orientations.
        seed, indices : fix all chance, see :class:`Chance`.

        Returns
        -------
        (n, rows, columns) uint8 with ``quantisation``, else float32, on the projector's device.
        """
        shift = None if self.geometry is None else self.geometry.shifts(seed, indices)
        flat = projector.background() if self.static is not None else None
        return self(projector.patterns(quaternions, shift), seed, indices, flat)

    def __call__(
        self, patterns: Tensor, seed: int, indices: Sequence[int], background: Tensor | None = None
    ) -> Tensor:
        """Everything but the geometry and the energy, which act where patterns are projected.

        Parameters
        ----------
        patterns : (n, H, W) float32 intensities, 0 or more; left as they are.
        seed, indices : fix all chance, see :class:`Chance`.
        background : (H, W) mean pattern of very many orientations, any scale; for ``static``.

        Returns
        -------
        (n, H, W) uint8 with ``quantisation``, else float32, on the patterns' device.

        Raises
        ------
        ImperfectionError
            If shapes do not agree, or the background is missing.
        """
        if patterns.ndim != 3 or len(patterns) != len(indices):
            raise ImperfectionError(
                f"patterns of shape {tuple(patterns.shape)} for {len(indices)} indices: "
                "need (n, H, W) and n"
            )
        if self.static is not None and (
            background is None or background.shape != patterns.shape[1:]
        ):
            raise ImperfectionError(
                "static correction needs the background image of the detector, (H, W) like the "
                "patterns: Projector.background()"
            )
        parts = [
            self._some(patterns[i : i + BATCH], seed, indices[i : i + BATCH], background)
            for i in range(0, len(patterns), BATCH)
        ]
        empty = torch.uint8 if self.quantisation is not None else torch.float32
        return torch.cat(parts) if parts else patterns.to(empty)

    def _some(
        self, patterns: Tensor, seed: int, indices: Sequence[int], background: Tensor | None
    ) -> Tensor:
        chance = Chance(seed, indices, patterns.device)
        x = patterns.to(torch.float32)
        if self.distortion is not None:
            x = self.distortion(x, chance)
        if self.counts is not None:
            x = self.counts(x, chance)
        signal = x.mean(dim=(1, 2), keepdim=True)
        if self.blur is not None:
            x = self.blur(x, chance)
        x = self._camera(x, chance)
        if self.saturation is not None:
            x = self.saturation(x, chance)
        if self.static is not None and background is not None:
            # The same camera saw the background: the same lens, shade and hot pixels, no noise.
            flat = background.to(x)[None].expand(x.shape)
            if self.distortion is not None:
                flat = self.distortion(flat, chance)
            flat = flat * (signal / flat.mean(dim=(1, 2), keepdim=True))
            if self.blur is not None:
                flat = self.blur(flat, chance)
            x = self.static(x, self._camera(flat, chance))
        if self.dynamic is not None:
            x = self.dynamic(x)
        if self.mask is not None:
            x = self.mask(x, chance)
        return x if self.quantisation is None else self.quantisation(x)

    def _camera(self, x: Tensor, chance: Chance) -> Tensor:
        if self.response is not None:
            x = self.response(x, chance)
        return x if self.hot_pixels is None else self.hot_pixels(x, chance)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types: the parts there are, each with all its parameters."""
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        plain = {
            name: asdict(part) if name in PARTS else part
            for name, part in parts.items()
            if part is not None and not (name == "energy_shift" and part == 0)
        }
        return {name: _lists(value) for name, value in plain.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DetectorImperfections:
        """Inverse of :meth:`to_dict`; ``true`` stands for a part with its defaults.

        Raises
        ------
        ImperfectionError
            If a part or one of its parameters is unknown or out of range.
        """
        made: dict[str, Any] = {}
        for name, value in values.items():
            if name == "energy_shift":
                made[name] = value
                continue
            if name not in PARTS:
                known = ", ".join(("energy_shift", *PARTS))
                raise ImperfectionError(f"imperfection {name!r} is unknown; known: {known}")
            if value is None or value is False:
                continue
            options = {} if value is True else value
            if not isinstance(options, Mapping):
                raise ImperfectionError(f"{name} = {value!r}: must be a mapping of parameters")
            unknown = sorted(set(options) - {f.name for f in fields(PARTS[name])})
            if unknown:
                raise ImperfectionError(
                    f"{name}: unknown parameter {', '.join(unknown)}; known: "
                    + ", ".join(f.name for f in fields(PARTS[name]))
                )
            made[name] = PARTS[name](**options)
        return cls(**made)


PARTS: dict[str, Any] = {
    "geometry": GeometryJitter,
    "distortion": LensDistortion,
    "counts": Counts,
    "blur": Blur,
    "response": Response,
    "hot_pixels": HotPixels,
    "saturation": Saturation,
    "static": StaticCorrection,
    "dynamic": DynamicCorrection,
    "mask": CircularMask,
    "quantisation": Quantisation,
}
"""The parts by the name of their entry, in the order in which they work."""


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(v) for key, v in value.items()}
    return list(value) if isinstance(value, tuple) else value
