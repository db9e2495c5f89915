"""The Materials Project's own client, asked one page at a time and never waited for without end.

mp-api checks the key, speaks the protocol and names the fields; here are the time-outs, the
retries (its own are switched off, as they obey any ``Retry-After``) and errors that say what to do.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ebsdsg_flows.imports.errors import ImportFailed, NoAnswer, Rejected
from ebsdsg_flows.imports.patience import DeadlineError, pause, retry_after, within

if TYPE_CHECKING:
    from mp_api.client import MPRester
    from pydantic import SecretStr
    from requests import Response

    from ebsdsg_flows.settings import Settings

T = TypeVar("T")

ENDPOINT = "https://api.materialsproject.org/"
KEY_PAGE = "https://next-gen.materialsproject.org/api"
NO_KEY = (
    "no key for the Materials Project: put the one of " + KEY_PAGE + " into the environment as "
    "MP_API_KEY (or EBSDSG_MP_API_KEY), or as mp_api_key into the settings file"
)
IDENTIFIER = re.compile(r"^[a-z]+-[a-z0-9]+$")
"""What the client accepts as the identifier of a calculation."""

HOPELESS = {
    400: "the server does not understand the question; is mp-api too old?",
    401: f"the key is refused (401); compare it with the one of {KEY_PAGE}",
    403: f"the key may not do this (403); compare it with the one of {KEY_PAGE}",
    404: "the server has no such route (404); is the endpoint right?",
    422: "the server refuses the values of the question (422)",
}


ASKS_TO_WAIT = (429, 503)
"""Too many requests, and overload or maintenance: their ``Retry-After`` is obeyed (RFC 9110)."""


class MaterialsProject:
    """A connection to the Materials Project.

    Parameters
    ----------
    key : of the user; never shown, logged or stored.
    endpoint : address of the server.
    timeout : seconds that one answer may take, to its last byte.
    retries : further attempts at a request that failed.
    first_pause, longest_pause : seconds between attempts; a server that asks for more than the
        longest is not asked again.
    report : told in one line what is waited for.
    """

    def __init__(
        self,
        key: SecretStr,
        *,
        endpoint: str = ENDPOINT,
        timeout: float = 60.0,
        retries: int = 4,
        first_pause: float = 1.0,
        longest_pause: float = 60.0,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self.endpoint = endpoint.rstrip("/") + "/"
        self.timeout = timeout
        self.retries = retries
        self.first_pause = first_pause
        self.longest_pause = longest_pause
        self.report = report or (lambda message: None)
        self._key = key
        self._rester: MPRester | None = None
        self._answer: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"MaterialsProject({self.endpoint})"

    @classmethod
    def from_settings(
        cls, settings: Settings, *, report: Callable[[str], None] | None = None
    ) -> MaterialsProject:
        """Connection with the key and the endpoint of the settings.

        Raises
        ------
        ImportFailed
            If there is no key, or it cannot be one.
        """
        if settings.mp_api_key is None:
            raise ImportFailed(NO_KEY)
        if len(settings.mp_api_key.get_secret_value()) != 32:
            raise ImportFailed(
                "the Materials Project key does not have 32 characters; copy it from " + KEY_PAGE
            )
        return cls(
            settings.mp_api_key,
            endpoint=settings.mp_endpoint,
            timeout=settings.mp_timeout,
            retries=settings.mp_retries,
            report=report,
        )

    def database_version(self) -> str:
        """Version of the database that answers at present.

        Raises
        ------
        Rejected, NoAnswer
        """
        import requests

        def heartbeat() -> str:
            # not the client's: that has no time-out and remembers the version of its first call
            answer = requests.get(self.endpoint + "heartbeat", timeout=self.timeout)
            self._note(answer)
            answer.raise_for_status()
            return str(answer.json()["db_version"])

        return self._ask("heartbeat", heartbeat)

    def page(
        self, criteria: Mapping[str, Any], fields: Sequence[str], *, skip: int, limit: int
    ) -> tuple[list[dict[str, Any]], int]:
        """One page of the summaries that match.

        Parameters
        ----------
        criteria : query parameters of ``/materials/summary``; not empty, because the client takes
            a query without criteria for a download of everything.
        fields : fields of each summary.
        skip, limit : first entry and number of entries.

        Returns
        -------
        rows : as the server gives them.
        total : number of entries that match, on all pages.

        Raises
        ------
        ValueError
            If there are no criteria.
        Rejected, NoAnswer
        """
        if not criteria:
            raise ValueError("a query of the Materials Project needs a criterion")
        question = {
            **criteria,
            "_fields": ",".join(fields),
            "_sort_fields": "material_id",
            "_skip": skip,
            "_limit": limit,
        }

        def ask() -> tuple[list[dict[str, Any]], int]:
            # `search` hides the total and always starts at the first page
            summary = self._client().materials.summary
            answer = summary._query_resource(
                question, num_chunks=1, chunk_size=limit, timeout=self.timeout
            )
            rows, total = answer["data"], answer["meta"]["total_doc"]
            if not isinstance(rows, list) or not isinstance(total, int):
                raise ValueError("an answer without data and total")
            return rows, total

        shown = {k: v for k, v in criteria.items() if k != "material_ids"}
        return self._ask(f"summaries {shown or ''} from {skip + 1}".replace("  ", " "), ask)

    def successors(self, ids: Sequence[str]) -> dict[str, str]:
        """Material to which a withdrawn identifier belongs now.

        Parameters
        ----------
        ids : identifiers, all of them once calculations of the Materials Project.

        Returns
        -------
        Identifier to the material that holds its calculation; without those that none holds.

        Raises
        ------
        Rejected, NoAnswer
        """
        tasks = [i for i in ids if IDENTIFIER.match(i)]
        if not tasks:
            return {}

        def ask() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = self._client().materials.search(
                task_ids=tasks, all_fields=False, fields=["material_id", "task_ids"]
            )
            return found

        successors = {}
        for row in self._ask(f"what replaces {len(ids)} entries", ask):
            for task in row.get("task_ids") or ():
                if str(task) in ids and str(task) != str(row["material_id"]):
                    successors[str(task)] = str(row["material_id"])
        return successors

    def _client(self) -> MPRester:
        """The client, made when first needed: its import takes ten seconds."""
        if self._rester is None:
            from mp_api.client import MPRester
            from requests import Session
            from requests.adapters import HTTPAdapter

            session = Session()
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=0))
            note = self._note
            session.hooks["response"].append(lambda answer, **_: note(answer))
            self._rester = MPRester(
                self._key.get_secret_value(),
                endpoint=self.endpoint,
                use_document_model=False,
                mute_progress_bars=True,
                session=session,
            )
        return self._rester

    def _note(self, answer: Response) -> None:
        self._answer = {"status": answer.status_code, "after": answer.headers.get("Retry-After")}

    def _ask(self, what: str, call: Callable[[], T]) -> T:
        """Answer of a request, with attempts and pauses."""
        _import_client()
        for attempt in range(1, self.retries + 2):
            self._answer = {}
            try:
                return within(self.timeout, call)
            except DeadlineError as error:
                # the abandoned thread may still hold the session
                self._rester = None
                problem = str(error)
            except _expected_errors() as error:
                problem = self._hidden(f"{type(error).__name__}: {error}")
            status = self._answer.get("status")
            if status in HOPELESS:
                raise Rejected(f"Materials Project, {what}: {HOPELESS[status]}")
            wait = pause(attempt, self.first_pause, self.longest_pause)
            if status == 429:
                problem = "too many requests (429)"
            if status in ASKS_TO_WAIT:
                asked = retry_after(self._answer.get("after"))
                if asked is not None and asked > self.longest_pause:
                    raise NoAnswer(
                        f"{what}: the server asks to wait {asked:.0f} s, import again later"
                    )
                wait = max(wait, asked or 0.0)
            if attempt <= self.retries:
                self.report(f"{what}: {problem}; again in {wait:.1f} s")
                time.sleep(wait)
        raise NoAnswer(f"{what}: {problem} ({self.retries + 1} attempts)")

    def _hidden(self, text: str) -> str:
        """Error text on one line, short, without the key."""
        text = " ".join(text.replace(self._key.get_secret_value(), "***").split())
        return text if len(text) <= 300 else text[:300] + "…"


def _expected_errors() -> tuple[type[Exception], ...]:
    """What the client raises when the server or the network is at fault; anything else is ours."""
    from mp_api.client.core.exceptions import MPRestError

    # OSError holds those of requests; the others come from answers that are not what they should be
    return (MPRestError, OSError, ValueError, LookupError)


def _import_client() -> None:
    """Import what the requests need: some seconds that are not the server's fault."""
    import mp_api.client
    import mp_api.client.routes.materials.materials
    import mp_api.client.routes.materials.summary  # noqa: F401
