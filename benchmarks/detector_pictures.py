"""Pictures of every detector imperfection for docs/explanation/detector.md.

One command: ``python benchmarks/detector_pictures.py``.  Nickel's reference master pattern is
expected in ``../shared`` or where ``EBSDSG_SHARED`` says.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ebsdsg_ml.imperfections import DetectorImperfections
from ebsdsg_sim.detector import Detector, GeometryShift
from ebsdsg_sim.hdf5 import read_master_pattern
from ebsdsg_sim.masterpattern import MasterPattern
from ebsdsg_sim.orientation import euler_to_quaternion
from ebsdsg_sim.projection import Projector, to_uint8

PICTURES = Path(__file__).parents[1] / "docs/images/detector"
SIZE, GAP, TITLE = 229, 6, 20
ORIENTATION = euler_to_quaternion([[32.0, 41.0, 17.0]])
PLAIN: dict[str, Any] = {}
#: File name, and (title, imperfections) of its images; the ideal pattern comes first.
ROWS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "counts": [
        ("800 us", {"counts": {}}),
        ("20 us", {"counts": {"dwell_time": 20}}),
        ("20 us, 30 frames", {"counts": {"dwell_time": 20, "frames": 30}}),
    ],
    "blur": [
        ("sigma 0.005", {"blur": {"sigma": 0.005}}),
        ("sigma 0.015", {"blur": {"sigma": 0.015}}),
        ("with counts, 20 us", {"blur": {"sigma": 0.005}, "counts": {"dwell_time": 20}}),
    ],
    "distortion": [
        ("k1 = -0.1, pincushion", {"distortion": {"k1": -0.1}}),
        ("k1 = 0.1, barrel", {"distortion": {"k1": 0.1}}),
        ("k1 = 0.02", {"distortion": {"k1": 0.02}}),
    ],
    "response": [
        ("vignetting 0.4", {"response": {"vignetting": 0.4}}),
        ("stray 0.5", {"response": {"stray": 0.5}}),
        ("0.4, dark 0.5 (4 bits)", {
            "response": {"vignetting": 0.4, "dark": 0.5}, "quantisation": {"bits": 4}
        }),
    ],
    "hot_pixels": [
        ("0.1 %", {"hot_pixels": {"fraction": 0.001}}),
        ("1 %", {"hot_pixels": {"fraction": 0.01}}),
        ("1 %, static", {"hot_pixels": {"fraction": 0.01}, "static": {"operation": "subtract"}}),
    ],
    "saturation": [
        ("capacity 4", {"saturation": {"capacity": 4.0}}),
        ("capacity 2", {"saturation": {"capacity": 2.0}}),
        ("capacity 1", {"saturation": {"capacity": 1.0}}),
    ],
    "correction": [
        ("static, divided", {"static": {}}),
        ("dynamic, subtracted", {"dynamic": {}}),
        ("both", {"static": {}, "dynamic": {}}),
    ],
    "mask": [
        ("radius 0.5", {"mask": {}}),
        ("radius 0.4", {"mask": {"radius": 0.4}}),
        ("static, 0.48", {"static": {}, "mask": {"radius": 0.48}}),
    ],
    "quantisation": [
        ("8 bits", {"quantisation": {}}),
        ("4 bits", {"quantisation": {"bits": 4}}),
        ("2 bits", {"quantisation": {"bits": 2}}),
    ],
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("EBSDSG_SHARED", Path(__file__).parents[2] / "shared")
    parser.add_argument("--shared", type=Path, default=Path(default))
    options = parser.parse_args()
    torch.set_num_threads(1)
    nickel = read_master_pattern(options.shared / "reference/emsoft/Ni.h5")
    PICTURES.mkdir(parents=True, exist_ok=True)
    projector = Projector(nickel, Detector.paper(SIZE), solid_angle="physical")
    ideal = seen(projector, PLAIN)
    for name, images in ROWS.items():
        save(name, [("ideal", ideal), *((title, seen(projector, p)) for title, p in images)])
    save("geometry", [("ideal", ideal), *geometry(projector)])
    save("energy_shift", energies(nickel))
    everything = {
        "distortion": {"k1": 0.01},
        "counts": {"dwell_time": 800},
        "blur": {"sigma": 0.004},
        "response": {"vignetting": 0.3, "dark": 0.1},
        "hot_pixels": {"fraction": 5e-4},
        "saturation": {"capacity": 6},
    }
    software: dict[str, Any] = {"static": {}, "dynamic": {}, "mask": {"radius": 0.49}}
    levels = {"quantisation": {"clip": 5e-4}}
    worse = everything | {"counts": {"dwell_time": 30}, "blur": {"sigma": 0.01}}
    save(
        "everything",
        [
            ("ideal", ideal),
            ("as the camera sees it", seen(projector, everything)),
            ("as software shows it", seen(projector, everything | software | levels)),
            ("30 us, more blur", seen(projector, worse | software | levels)),
        ],
    )


def seen(projector: Projector, parts: dict[str, Any]) -> np.ndarray:
    """8-bit image of the pattern with some imperfections."""
    pattern = DetectorImperfections.from_dict(parts).patterns(projector, ORIENTATION, 0, [0])[0]
    if pattern.dtype == torch.uint8:
        # Few levels are shown over the whole range of grey.
        bits = parts["quantisation"].get("bits", 8)
        return (pattern.numpy() * (255 // (2**bits - 1))).astype(np.uint8)
    return to_uint8(pattern).numpy()


def geometry(projector: Projector) -> list[tuple[str, np.ndarray]]:
    moved = [
        ("PCx + 0.05", (0.05, 0, 0), 0.0),
        ("PCz + 0.1", (0, 0, 0.1), 0.0),
        ("tilt + 5 degrees", (0, 0, 0), 5.0),
    ]
    return [
        (
            title,
            to_uint8(
                projector.patterns(ORIENTATION, GeometryShift(np.array([pc]), np.array([tilt])))
            )[0].numpy(),
        )
        for title, pc, tilt in moved
    ]


def energies(nickel: MasterPattern) -> list[tuple[str, np.ndarray]]:
    """Shifted energies, background divided out, so that the widths of the bands are seen."""
    result = []
    for title, shift in (("ideal", 0.0), ("- 1 keV", -1.0), ("- 4 keV", -4.0)):
        projector = Projector(
            nickel,
            Detector.paper(SIZE),
            background=False,
            solid_angle="physical",
            energy_shift=shift,
        )
        result.append((title, projector.patterns(ORIENTATION)[0]))
    flat = [(title, (p - p.mean()) / p.std()) for title, p in result]
    difference = ("- 4 keV less ideal", flat[2][1] - flat[0][1])
    return [(title, to_uint8(p).numpy()) for title, p in (*flat, difference)]


def save(name: str, images: list[tuple[str, np.ndarray]]) -> None:
    """Images side by side with titles above them."""
    width = len(images) * (SIZE + GAP) - GAP
    sheet = Image.new("L", (width, SIZE + TITLE), 255)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for i, (title, image) in enumerate(images):
        left = i * (SIZE + GAP)
        draw.text((left + 2, 1), title, fill=0, font=font)
        sheet.paste(Image.fromarray(image), (left, TITLE))
    sheet.save(PICTURES / f"{name}.png", optimize=True)
    print(PICTURES / f"{name}.png")


if __name__ == "__main__":
    main()
