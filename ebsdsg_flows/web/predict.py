"""Patterns in, their space groups out, with alternatives and the most similar pattern."""

from __future__ import annotations

import io
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, File, Form, HTTPException, Request, UploadFile
from fastapi import Path as PathParameter
from fastapi.responses import RedirectResponse, Response

from ebsdsg_flows.web.kept import Answered, Kept
from ebsdsg_flows.web.models import Asked, find, offered
from ebsdsg_flows.web.similar import most_similar
from ebsdsg_flows.web.site import Site
from ebsdsg_flows.web.uploads import received

if TYPE_CHECKING:
    from ebsdsg_ml.predict import Prediction

WAITING = 4
"""Uploads answered or waiting for it; others are sent away, or they would hold up the pages."""

AnswerKey = Annotated[str, PathParameter(pattern="^[0-9a-f]{32}$")]
AnswerNumber = Annotated[int, PathParameter(ge=0, le=100_000)]


def router(site: Site) -> APIRouter:
    """Pages of the predictions.

    Parameters
    ----------
    site : that they belong to.
    """
    pages = APIRouter()
    kept = Kept()
    waiting = threading.BoundedSemaphore(WAITING)
    one_at_a_time = threading.Lock()

    @pages.get("/predict")
    def form(request: Request) -> Response:
        return site.page(request, "predict", models=offered(site))

    @pages.post("/predict")
    def answer(
        request: Request,
        model: Annotated[str, Form(max_length=200)],
        pattern: Annotated[list[UploadFile], File()],
        one_grain: Annotated[bool, Form()] = False,
        dependence: Annotated[float, Form(ge=0, le=1)] = 1.0,
        correct: Annotated[bool, Form()] = False,
        scan: Annotated[str, Form(max_length=200)] = "",
    ) -> Response:
        from ebsdsg_ml.predict import PredictionError, pool, predict

        if not waiting.acquire(blocking=False):
            raise HTTPException(
                503, "other patterns are being answered; try again", {"Retry-After": "10"}
            )
        try:
            with tempfile.TemporaryDirectory(prefix="ebsdsg-") as folder, one_at_a_time:
                paths = received(pattern, Path(folder))
                network, asked = find(site, model)
                found = predict(network, paths, group=scan or None, correct=correct)
        except PredictionError as error:
            raise HTTPException(422, str(error)) from None
        finally:
            waiting.release()
        errors = [error.replace(f"{folder}/", "") for error in found.errors]
        answers = found.answers
        if not answers:
            raise HTTPException(422, "; ".join(errors) or "there is no pattern")
        pooled = None
        if one_grain and len(answers) > 1:
            name = f"all {len(answers)} patterns as one grain"
            pooled = pool(network, answers, name=name, dependence=dependence)
        key = kept.add(Answered(asked, answers, pooled, errors))
        one = "/0" if len(answers) == 1 and not errors else ""
        base = request.scope.get("root_path", "")
        return RedirectResponse(f"{base}/predict/answers/{key}{one}", 303)

    @pages.get("/predict/answers/{key}")
    def answers(request: Request, key: AnswerKey) -> Response:
        return site.page(
            request,
            "predict_answers",
            models=offered(site),
            key=key,
            answered=_kept(kept, key),
        )

    @pages.get("/predict/answers/{key}/{number}")
    def one_answer(request: Request, key: AnswerKey, number: AnswerNumber) -> Response:
        from ebsdsg_ml.calibration import percent

        answered = _kept(kept, key)
        found = _numbered(answered, number)
        if number not in answered.similar:
            with one_at_a_time:
                answered.similar[number] = most_similar(site, answered.asked, found.pattern)
        return site.page(
            request,
            "predict_answer",
            models=offered(site),
            key=key,
            number=number,
            answered=answered,
            found=found,
            calibration=answered.asked.card.calibration,
            percent=percent,
            ranked=sorted(found.probabilities.items(), key=lambda item: -item[1]),
            similar=answered.similar[number],
            become=_become(site, answered.asked, found.space_group),
        )

    @pages.get("/predict/answers/{key}/{number}/pattern.png")
    def picture(request: Request, key: AnswerKey, number: AnswerNumber) -> Response:
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(_numbered(_kept(kept, key), number).pattern).save(buffer, format="PNG")
        headers = {"Cache-Control": "private, max-age=3600"}
        return Response(buffer.getvalue(), media_type="image/png", headers=headers)

    return pages


def _become(site: Site, asked: Asked, relabelled: int) -> list[int]:
    """True groups of the phases of a model's data set whose relabelled group is this one."""
    dataset = asked.dataset and site.stores.datasets.find_one(
        {"key": asked.dataset}, {"members.true": True, "members.relabelled": True}
    )
    members = dataset["members"] if dataset else []
    return sorted({m["true"] for m in members if m["relabelled"] == relabelled})


def _kept(kept: Kept, key: str) -> Answered:
    answered = kept.get(key)
    if answered is None:
        raise HTTPException(404, "these answers are no longer kept; send the patterns again")
    return answered


def _numbered(answered: Answered, number: int) -> Prediction:
    """Answer of one pattern; the one after the last is that of all as one grain."""
    found = [*answered.answers, *([answered.pooled] if answered.pooled else [])]
    if number >= len(found):
        raise HTTPException(404, f"there are {len(answered.answers)} answers")
    return found[number]
