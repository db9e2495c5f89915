"""Imperfections of a detector as seeded, physically parameterised transforms."""

from ebsdsg_ml.imperfections.blur import Blur
from ebsdsg_ml.imperfections.chance import Amount, Chance, ImperfectionError
from ebsdsg_ml.imperfections.correction import DynamicCorrection, StaticCorrection
from ebsdsg_ml.imperfections.counts import Counts
from ebsdsg_ml.imperfections.distortion import LensDistortion
from ebsdsg_ml.imperfections.geometry import GeometryJitter
from ebsdsg_ml.imperfections.hot_pixels import HotPixels
from ebsdsg_ml.imperfections.mask import CircularMask
from ebsdsg_ml.imperfections.pipeline import PARTS, DetectorImperfections
from ebsdsg_ml.imperfections.quantisation import Quantisation
from ebsdsg_ml.imperfections.response import Response
from ebsdsg_ml.imperfections.saturation import Saturation

__all__ = [
    "PARTS",
    "Amount",
    "Blur",
    "Chance",
    "CircularMask",
    "Counts",
    "DetectorImperfections",
    "DynamicCorrection",
    "GeometryJitter",
    "HotPixels",
    "ImperfectionError",
    "LensDistortion",
    "Quantisation",
    "Response",
    "Saturation",
    "StaticCorrection",
]
