"""What the pages share: the database, the data root, the rules of access, and how to render."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup
from pydantic import ValidationError

from ebsdsg_flows.web.access import Access
from ebsdsg_flows.web.figures import templates
from ebsdsg_flows.web.guard import SAFE, path_of, place
from ebsdsg_flows.web.tries import Tries
from stores.documents import FileReference, short

if TYPE_CHECKING:
    from jinja2 import Environment

    from stores.collections import Stores

PAGE = 50
"""Rows of a table on one page."""

NAVIGATION = (
    ("", "Campaigns", ("campaigns", "campaign")),
    ("triage", "Triage", ("triage",)),
    ("structures", "Structures", ("structures", "structure")),
    ("training", "Training", ("training",)),
    ("predict", "Predict", ("predict",)),
)
"""Path, text, and the first words of the templates that belong to it."""

STATIC = files("ebsdsg_flows.web") / "static"


@dataclass
class Site:
    """One web site on one database.

    Parameters
    ----------
    stores : open database.
    root : data root; files are reached by their document only, and must lie below it.
    access : who may read and who may act.
    tries : how often an address may give a wrong token.
    """

    stores: Stores
    root: Path
    access: Access
    tries: Tries

    @cached_property
    def environment(self) -> Environment:
        """Templates; every value is escaped, and a missing one is an error."""
        from jinja2 import Environment, PackageLoader, StrictUndefined

        from ebsdsg_ml.figures import class_name

        environment = Environment(
            loader=PackageLoader("ebsdsg_flows.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {
            "group_name": lambda number: (
                Markup('<span class="whole">%s</span>') % class_name(int(number))
            ),
            "part": lambda value: quote(str(value), safe=""),
            "short": lambda value: short(str(value)),
            "time": _time,
            "words": lambda value: str(value).replace("_", " "),
        }
        environment.globals["navigation"] = NAVIGATION
        environment.globals["static_version"] = static_version()
        environment.globals["figure_templates"] = templates
        return environment

    def page(
        self, request: Request, template: str, *, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """A rendered template.

        Parameters
        ----------
        request : that it answers.
        template : name without ``.html.j2``.
        status : of the answer.
        **values : for the template.
        """
        text = self.environment.get_template(f"{template}.html.j2").render(
            base=request.scope.get("root_path", ""),
            acts=request.state.acts,
            can_log_in=self.access.token is not None,
            section=template.partition("_")[0],
            place=place(request.scope),
            **values,
        )
        return HTMLResponse(text, status)

    def problem(self, request: Request, status: int, message: str) -> HTMLResponse:
        """The page for what went wrong, with a way back to the form that was sent.

        Parameters
        ----------
        request : that it answers.
        status : of the answer.
        message : one sentence.
        """
        first = path_of(request.scope).strip("/").partition("/")[0]
        section = next((entry[:2] for entry in NAVIGATION if entry[0] == first), ("", "Campaigns"))
        sent = request.method not in SAFE
        return self.page(
            request,
            "error",
            status=status,
            code=status,
            message=message,
            sent=sent,
            of_section=section,
        )

    def file(self, reference: dict[str, Any]) -> Path:
        """Path of a file that a document refers to.

        Raises
        ------
        HTTPException
            404 if it is not there, or not below the data root.
        """
        try:
            path = (self.root / FileReference.model_validate(reference).path).resolve()
        except ValidationError as error:
            raise HTTPException(
                404, "the file of this document is not below the data root"
            ) from error
        if not path.is_relative_to(self.root.resolve()) or not path.is_file():
            raise HTTPException(404, "the file of this document is not below the data root")
        return path


def _time(value: datetime | None) -> str:
    return "–" if value is None else f"{value:%Y-%m-%d %H:%M}"


@lru_cache(maxsize=1)
def static_version() -> str:
    """Changes when a static file changes, so that browsers may keep them for a year."""
    digest = hashlib.sha256()
    for entry in sorted(STATIC.iterdir(), key=lambda entry: entry.name):
        digest.update(entry.read_bytes())
    return digest.hexdigest()[:12]
