"""A finite number of electrons makes the pattern: Poisson noise, less with every frame averaged."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebsdsg_ml.imperfections.chance import Amount, Chance, ImperfectionError, check_amount

ELECTRONS_PER_NC = 6.241509074e9
#: In pixels with more electrons than this a rounded normal deviate stands for the Poisson one.
MANY = 100


@dataclass(frozen=True)
class Counts:
    """Electrons counted in every pixel, with their Poisson noise.

    Parameters
    ----------
    beam_current : [nA].
    dwell_time : exposure of one frame [us].
    efficiency : electrons that make a signal anywhere on the screen per incident electron: the
        backscatter yield (0.3 to 0.6), the part of it that hits the screen (about a quarter), and
        the quantum efficiency of screen and camera.
    frames : number of frames averaged.

    Notes
    -----
    The mean pattern of n frames has the noise of n times the electrons, divided by n.  With the
    paper's 51 nA, 800 us and the default efficiency, a frame of 229 x 229 pixels has 240 electrons
    per pixel.
    """

    beam_current: Amount = 51.0
    dwell_time: Amount = 800.0
    efficiency: Amount = 0.05
    frames: int = 1

    def __post_init__(self) -> None:
        for name, most in (("beam_current", 1e6), ("dwell_time", 1e9), ("efficiency", 1.0)):
            value = check_amount(f"counts.{name}", getattr(self, name), 0, most)
            object.__setattr__(self, name, value)
        if isinstance(self.frames, bool) or not isinstance(self.frames, int) or self.frames < 1:
            raise ImperfectionError(f"counts.frames = {self.frames!r}: must be at least 1")

    def electrons(self, pixels: int, chance: Chance) -> Tensor:
        """(n,) mean number of electrons per pixel in one frame."""
        product = torch.full((len(chance),), ELECTRONS_PER_NC * 1e-6, device=chance.device)
        for name in ("beam_current", "dwell_time", "efficiency"):
            product = product * chance.amounts(f"counts.{name}", getattr(self, name))
        return product / pixels

    def __call__(self, patterns: Tensor, chance: Chance) -> Tensor:
        """(n, H, W) mean counts per frame, in electrons.

        Raises
        ------
        ImperfectionError
            If an intensity is negative, or a pattern has none.
        """
        means = patterns.mean(dim=(1, 2), keepdim=True)
        if len(patterns) and not (patterns.amin() >= 0 and means.amin() > 0):
            raise ImperfectionError("counts: intensities must not be negative, nor all zero")
        pixels = patterns.shape[1] * patterns.shape[2]
        electrons = self.electrons(pixels, chance)[:, None, None] * self.frames
        expected = patterns / means * electrons
        for index, image in zip(chance.indices, expected, strict=True):
            generator = chance.generator("counts", index)
            few = image <= MANY
            drawn = torch.poisson(image[few], generator=generator)
            if not few.all():
                noise = torch.empty_like(image).normal_(generator=generator)
                image.addcmul_(image.sqrt(), noise).round_()
            image[few] = drawn
        return expected / self.frames
