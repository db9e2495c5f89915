"""A pattern in, its space group out, with its alternatives and the most similar pattern."""

from __future__ import annotations

import base64
import io
import tempfile
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, File, Form, HTTPException, Request, UploadFile
from fastapi.responses import Response

from ebsdsg_flows.web.similar import most_similar
from ebsdsg_flows.web.site import Site
from stores.states import State

if TYPE_CHECKING:
    import numpy as np

    from ebsdsg_ml.ensemble_model import AnyModel
    from ebsdsg_ml.predict import Prediction

MODELS = 200
"""Runs offered, the latest."""

LARGEST_IMAGE = 25_000_000
"""Pixels; a small file can unpack to any number of them."""


def router(site: Site) -> APIRouter:
    """Page of the predictions.

    Parameters
    ----------
    site : that it belongs to.
    """
    pages = APIRouter()
    one_at_a_time = threading.Lock()

    @pages.get("/predict")
    def form(request: Request) -> Response:
        return site.page(request, "predict", runs=_runs(site))

    @pages.post("/predict")
    def answer(
        request: Request,
        run: Annotated[str, Form(max_length=100)],
        pattern: Annotated[UploadFile, File()],
    ) -> Response:
        document = site.stores.training_runs.find_one({"key": run}, {"_id": False})
        if document is None or document["checkpoint"] is None:
            raise HTTPException(404, "there is no such training run with a model")
        content = pattern.file.read()
        suffix = _suffix(content)
        path = site.file(document["checkpoint"])
        with one_at_a_time:  # a prediction uses the whole machine as it is
            found = _predict(_model(path, document["checkpoint"]["sha256"]), content, suffix)
            similar = most_similar(site, document, found.pattern)
        return site.page(
            request,
            "predict_answer",
            runs=_runs(site),
            run=document,
            found=found,
            picture=_data_uri(found.pattern),
            ranked=sorted(found.probabilities.items(), key=lambda item: -item[1]),
            similar=similar,
        )

    return pages


def _runs(site: Site) -> list[dict[str, Any]]:
    """Completed runs with a model, those trained on all folds first."""
    fields = dict.fromkeys(("key", "labels", "fold", "accuracy", "finished", "adaptation"), True)
    found = site.stores.training_runs.find(
        {"state": str(State.COMPLETED), "checkpoint": {"$ne": None}}, {"_id": False, **fields}
    )
    runs = list(found.sort("finished", -1).limit(MODELS))
    return sorted(runs, key=lambda run: run["fold"] is not None)


def _suffix(content: bytes) -> str:
    """Suffix that belongs to an image's content; its name says nothing.

    Raises
    ------
    HTTPException
        415 if it is none of the images that are taken, 413 if it has too many pixels.
    """
    from PIL import Image

    kinds = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "BMP": ".bmp"}
    try:
        with Image.open(io.BytesIO(content), formats=list(kinds)) as image:
            size, kind = image.size, image.format
    except Image.DecompressionBombError as error:
        raise HTTPException(413, "this image has too many pixels") from error
    except Exception as error:  # Pillow's readers raise many types on broken files
        raise HTTPException(415, "this is no PNG, JPEG, TIFF or BMP image") from error
    if size[0] * size[1] > LARGEST_IMAGE:
        raise HTTPException(413, f"this image has more than {LARGEST_IMAGE / 1e6:.0f} megapixels")
    return kinds[str(kind)]


@lru_cache(maxsize=2)
def _model(path: Path, sha256: str) -> AnyModel:
    """A model; the hash in the key reads it anew when the file has changed."""
    from ebsdsg_ml.ensemble_model import load_model
    from ebsdsg_ml.pattern_model import ModelFileError

    try:
        return load_model(path)
    except ModelFileError as error:
        raise HTTPException(404, "the model of this run cannot be read") from error


def _predict(model: AnyModel, content: bytes, suffix: str) -> Prediction:
    """Answer for the content of an image file, which is gone afterwards."""
    from ebsdsg_ml.predict import predict

    with tempfile.TemporaryDirectory(prefix="ebsdsg-") as folder:
        path = Path(folder) / f"the uploaded image{suffix}"
        path.write_bytes(content)
        found = predict(model, [path])
    if not found.answers:
        message = found.errors[0] if found.errors else "it holds no pattern"
        raise HTTPException(422, message.replace(f"{folder}/", ""))
    return found.answers[0]


def _data_uri(pattern: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pattern).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
