"""Answers written to files: CSV, JSON, Parquet, and a picture."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_ml.figures import class_name
from ebsdsg_ml.pattern_model import ModelCard
from ebsdsg_ml.predict import Prediction, PredictionError
from ebsdsg_sim.atomic_file import write_atomically

if TYPE_CHECKING:
    from PIL import Image

MOST = 40
"""Answers that a picture shows."""
BAR, IN_SET, TEXT = "#56B4E9", "#0072B2", "#000000"
VERDICTS = {"answer": "#009E73", "abstain": "#E69F00", "unknown": "#D55E00"}
"""Colours of Okabe and Ito, as in :mod:`ebsdsg_ml.figures`."""


def write_answers(
    path: str | Path, answers: Sequence[Prediction], about: Mapping[str, Any]
) -> Path:
    """Write a table of answers, in the format that the suffix names.

    Parameters
    ----------
    path : ``.csv``, ``.json`` or ``.parquet`` file.
    answers : rows.
    about : what is said of them all (model, calibration, errors); in JSON as it is, in Parquet as
        metadata, not in CSV.

    Raises
    ------
    PredictionError
        If the suffix is none of these, Parquet is asked for without pyarrow, or there is no answer:
        an empty table would take the place of an earlier one.
    """
    path = Path(path)
    make: dict[str, Callable[[list[dict[str, Any]], Mapping[str, Any]], bytes]] = {
        ".csv": _csv,
        ".json": _json,
        ".parquet": _parquet,
    }
    check_suffix(path)
    if not answers:
        raise PredictionError(f"{path}: no answer to write")
    content = make[path.suffix.lower()]([answer.to_dict() for answer in answers], about)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    return path


def check_suffix(path: Path) -> None:
    """Refuse a file whose format is not known, before anything is computed.

    Raises
    ------
    PredictionError
        See :func:`write_answers`.
    """
    if path.suffix.lower() not in (".csv", ".json", ".parquet"):
        raise PredictionError(f"{path}: answers are written as .csv, .json or .parquet")
    if path.suffix.lower() == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise PredictionError(
                f"{path}: Parquet needs pyarrow: pip install 'ebsdsg[parquet]', or write .csv"
            ) from error


def check_picture_suffix(path: Path) -> None:
    """Refuse a picture that is not called PNG, before anything is computed.

    Raises
    ------
    PredictionError
        If the suffix is another one.
    """
    if path.suffix.lower() != ".png":
        raise PredictionError(f"{path}: answers are drawn as .png")


def _csv(rows: list[dict[str, Any]], about: Mapping[str, Any]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    # an empty cell is an empty set, which is not the set of a model without a calibration
    writer.writerows({**row, "set": "?" if row["set"] is None else row["set"]} for row in rows)
    return text.getvalue().encode()


def _json(rows: list[dict[str, Any]], about: Mapping[str, Any]) -> bytes:
    return _plain_json({**about, "answers": rows}, indent=1).encode()


def _plain_json(values: Mapping[str, Any], indent: int | None = None) -> str:
    """JSON as its standard has it: numbers that are not finite are null."""

    def plain(value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return None
        if isinstance(value, Mapping):
            return {key: plain(entry) for key, entry in value.items()}
        return [plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value

    return json.dumps(plain(values), indent=indent, allow_nan=False)


def _parquet(rows: list[dict[str, Any]], about: Mapping[str, Any]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist(rows)
    known = {**(table.schema.metadata or {}), b"ebsdsg": _plain_json(about).encode()}
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table.replace_schema_metadata(known), buffer)
    return buffer.getvalue()


def answer_picture(
    answers: Sequence[Prediction], title: str = "", columns: int = 2, pixels: int = 132
) -> Image.Image:
    """Each pattern with the probabilities of the groups; those in the set have a darker bar.

    Parameters
    ----------
    answers : at most :data:`MOST` are drawn, the first; the title says how many there are.
    title : above them.
    columns : answers per row.
    pixels : width of a pattern in the picture.

    Raises
    ------
    PredictionError
        If there is no answer.
    """
    from PIL import Image, ImageDraw, ImageFont

    if not answers:
        raise PredictionError("no answer to draw")
    shown = list(answers[:MOST])
    if len(shown) < len(answers):
        title = f"{title}  (the first {len(shown)} of {len(answers)})"
    columns = min(columns, len(shown))
    font, bold = ImageFont.load_default(size=12), ImageFont.load_default(size=13)
    gap, bars, head = 14, 250, 34
    line = 17
    tall = max(pixels, line * len(shown[0].probabilities)) + 42
    wide = pixels + bars + 3 * gap
    size = (columns * wide + gap, head + -(-len(shown) // columns) * tall + gap)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((gap, 9), title, fill=TEXT, font=bold)
    for i, answer in enumerate(shown):
        x, y = gap + (i % columns) * wide, head + (i // columns) * tall
        side = answer.pattern.shape[0]
        method = Image.Resampling.NEAREST if pixels >= side else Image.Resampling.LANCZOS
        sheet.paste(Image.fromarray(answer.pattern).resize((pixels, pixels), method), (x, y + 18))
        name = answer.name + (f", {answer.patterns} patterns" if answer.patterns > 1 else "")
        draw.text((x, y), _fitted(draw, name, font, wide - gap), fill=TEXT, font=font)
        left = x + pixels + gap
        groups = answer.in_set if answer.in_set is not None else ()
        for k, (group, p) in enumerate(answer.probabilities.items()):
            top = y + 18 + k * line
            draw.text((left, top), class_name(group), fill=TEXT, font=font)
            colour = IN_SET if group in groups else BAR
            draw.rectangle((left + 92, top + 2, left + 92 + round(110 * p), top + 13), fill=colour)
            draw.text((left + 96 + round(110 * p), top), f"{p:.2f}", fill=TEXT, font=font)
        top = y + 20 + line * len(answer.probabilities)
        inside = "no calibration" if answer.in_set is None else _set_text(answer.in_set)
        draw.text((left, top), f"set: {inside}", fill=TEXT, font=font)
        verdict = {
            "answer": class_name(answer.space_group),
            "abstain": "no answer",
            "unknown": "looks unknown",
        }[answer.verdict]
        draw.text((left, top + 15), verdict, fill=VERDICTS[answer.verdict], font=bold)
        draw.text((left + 130, top + 15), f"IQ {answer.image_quality:.2f}", fill=TEXT, font=font)
    return sheet


def _set_text(groups: Sequence[int]) -> str:
    return "{" + ", ".join(map(str, groups)) + "}" if groups else "empty"


def _fitted(draw: Any, text: str, font: Any, width: float) -> str:
    while len(text) > 2 and draw.textlength(text, font=font) > width:
        text = text[:-2].rstrip("…") + "…"
    return text


def write_picture(path: str | Path, picture: Image.Image) -> Path:
    """Write a picture as PNG, atomically.

    Raises
    ------
    PredictionError
        If the file is not called so.
    """
    path = Path(path)
    check_picture_suffix(path)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getbuffer())
    return path


def plain_card(card: ModelCard) -> dict[str, Any]:
    """What is told of a model beside its answers: no list of training phases.

    Parameters
    ----------
    card : of a model or an ensemble.

    Returns
    -------
    Its entries as plain JSON types, and ``limits``: what its calibration can never say
    (:meth:`ebsdsg_ml.calibration.Calibration.limits`).
    """
    known = card.calibration
    plain = card.to_dict() | {"limits": [] if known is None else known.limits()}
    plain["training"] = {
        k: [{a: b for a, b in m.items() if a != "phases"} for m in v] if k == "members" else v
        for k, v in plain["training"].items()
        if k != "phases"
    }
    return plain
