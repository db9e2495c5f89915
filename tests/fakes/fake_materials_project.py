"""A Materials Project on this machine, with the routes that an import uses and faults to order.

Routes: ``GET /heartbeat``, ``GET /materials/summary/`` and ``GET /materials/core/``.  Pages, fields
and the key are handled as the real server does; each fault is given out once per time ordered, to
the next request that it fits.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "abcdefghijklmnopqrstuvwxyz012345"
FCC = [[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]
BCC = [[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]
SIMPLE = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
SYMBOLS = {221: "Pm-3m", 225: "Fm-3m", 227: "Fd-3m", 229: "Im-3m"}


def summary(
    material_id: str,
    a: float,
    cell: list[list[float]],
    atoms: Iterable[tuple[str, list[float]]],
    group: int,
    **changes: Any,
) -> dict[str, Any]:
    """Summary of an entry.

    Parameters
    ----------
    a : edge of the conventional cell [Angstrom].
    cell : vectors of the given cell in units of ``a``.
    atoms : element and fractional coordinates in the given cell.
    """
    matrix = [[a * x for x in vector] for vector in cell]
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = matrix
    volume = abs(ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx))
    sites = [
        {"species": [{"element": e, "occu": 1}], "abc": p, "label": e, "properties": {}}
        for e, p in atoms
    ]
    composition = Counter(site["species"][0]["element"] for site in sites)
    return {
        "material_id": material_id,
        "formula_pretty": "".join(sorted(composition)),
        "composition": {e: float(n) for e, n in composition.items()},
        "nsites": len(sites),
        "volume": volume,
        "symmetry": {"number": group, "symbol": SYMBOLS[group], "crystal_system": "Cubic"},
        "structure": {
            "@module": "pymatgen.core.structure",
            "@class": "Structure",
            "charge": 0,
            "lattice": {"matrix": matrix, "pbc": [True, True, True]},
            "sites": sites,
            "properties": {},
        },
        "deprecated": False,
        "deprecation_reasons": None,
        "last_updated": "2025-01-01T00:00:00Z",
        "builder_meta": {"license": "BY-C", "batch_id": None},
        "task_ids": [material_id],
        **changes,
    }


def fcc(material_id: str, element: str = "Ni", a: float = 3.5, **changes: Any) -> dict[str, Any]:
    """A metal in its primitive cell."""
    return summary(material_id, a, FCC, [(element, [0.0, 0.0, 0.0])], 225, **changes)


def bcc(material_id: str, element: str = "W", a: float = 3.2, **changes: Any) -> dict[str, Any]:
    """A metal in its primitive cell."""
    return summary(material_id, a, BCC, [(element, [0.0, 0.0, 0.0])], 229, **changes)


@dataclass
class Fault:
    """What goes wrong, how often, and with which requests."""

    kind: str
    times: int
    fits: Callable[[str, dict[str, str]], bool]
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


class FakeMaterialsProject:
    """The server; a context manager that runs it in a thread.

    Attributes
    ----------
    entries : material id to summary, as the database has them at present.
    version : of the database.
    requests : path and parameters of every request, in order.
    """

    def __init__(self, entries: Iterable[dict[str, Any]] = ()) -> None:
        self.entries = {entry["material_id"]: entry for entry in entries}
        self.version = "2026.02.08"
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.keys: set[str | None] = set()
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        """Address of the server."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> FakeMaterialsProject:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def fail(
        self,
        kind: str,
        *,
        times: int = 1,
        route: str = "/materials/summary/",
        having: str = "",
        when: Callable[[dict[str, str]], bool] = lambda parameters: True,
        **details: Any,
    ) -> None:
        """Order a fault.

        Parameters
        ----------
        kind : ``status``, ``cut`` (a body that ends early), ``short`` (the same without a length,
            as a proxy may send it), ``hang`` (no answer), ``drip`` (a byte now and then) or
            ``rubbish`` (a page of HTML).
        times : to how many requests.
        route, having, when : to which: its path, a parameter that it has, a condition.
        **details : ``status`` and ``headers``, or ``seconds``.
        """

        def fits(path: str, parameters: dict[str, str]) -> bool:
            return path == route and (not having or having in parameters) and when(parameters)

        with self._lock:
            self._faults.append(Fault(kind, times, fits, **details))

    def mend(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._faults.clear()

    def asked(self, having: str) -> list[dict[str, str]]:
        """Parameters of the requests of summaries that have one of this name."""
        return [p for path, p in self.requests if "summary" in path and having in p]

    def fault_for(self, path: str, parameters: dict[str, str]) -> Fault | None:
        """The fault that a request gets, if any."""
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and fault.fits(path, parameters):
                    fault.times -= 1
                    return fault
        return None

    def wait(self, seconds: float) -> None:
        """Do nothing for a time, or until the server is closed."""
        self._closing.wait(seconds)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeMaterialsProject

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        parameters = {name: values[-1] for name, values in parse_qs(url.query).items()}
        self.fake.requests.append((url.path, parameters))
        if url.path != "/heartbeat":
            self.fake.keys.add(self.headers.get("x-api-key"))
        fault = self.fake.fault_for(url.path, parameters)
        try:
            if fault is None:
                self._answer(200, self._content(url.path, parameters))
            else:
                self._fail(fault, url.path, parameters)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _content(self, path: str, parameters: dict[str, str]) -> dict[str, Any] | int:
        if path == "/heartbeat":
            return {
                "status": "OK",
                "version": "0.87.3",
                "db_version": self.fake.version,
                "access_controlled_batch_ids": [],
            }
        if self.headers.get("x-api-key") != KEY:
            return 401
        if path not in ("/materials/summary/", "/materials/core/"):
            return 404
        chosen = [e for e in self.fake.entries.values() if _matches(e, parameters)]
        chosen.sort(key=lambda entry: entry["material_id"])
        skip, limit = int(parameters.get("_skip", 0)), int(parameters.get("_limit", 100))
        rows = chosen[skip : skip + min(limit, 1000)]
        if names := parameters.get("_fields"):
            rows = [{n: row[n] for n in names.split(",") if n in row} for row in rows]
        return {"data": rows, "meta": {"total_doc": len(chosen), "api_version": "0.87.3"}}

    def _fail(self, fault: Fault, path: str, parameters: dict[str, str]) -> None:
        body = json.dumps(self._content(path, parameters)).encode()
        if fault.kind == "status":
            self._answer(fault.status, {"detail": f"fault {fault.status}"}, fault.headers)
        elif fault.kind == "rubbish":
            self._send(200, b"<html>Bad gateway, but politely</html>", {})
        elif fault.kind == "hang":
            self.fake.wait(fault.seconds)
            self.close_connection = True
        elif fault.kind == "cut":
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        elif fault.kind == "short":
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        elif fault.kind == "drip":
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            end = time.monotonic() + fault.seconds
            for i in range(len(body)):
                if time.monotonic() > end:
                    break
                self.wfile.write(body[i : i + 1])
                self.wfile.flush()
                self.fake.wait(0.1)
            self.close_connection = True
        else:
            raise ValueError(f"no fault {fault.kind!r}")

    def _answer(
        self, status: int, content: dict[str, Any] | int, headers: dict[str, str] | None = None
    ) -> None:
        if isinstance(content, int):
            status, content = content, {"detail": {401: "Invalid API key"}.get(content, "no")}
        self._send(status, json.dumps(content).encode(), headers or {})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _matches(entry: dict[str, Any], parameters: dict[str, str]) -> bool:
    """Whether an entry is what a query asks for."""
    tests: dict[str, Callable[[str], bool]] = {
        "spacegroup_number": lambda value: entry["symmetry"]["number"] == int(value),
        "volume_min": lambda value: entry["volume"] >= float(value),
        "volume_max": lambda value: entry["volume"] <= float(value),
        "material_ids": lambda value: entry["material_id"] in value.split(","),
        "task_ids": lambda value: bool(set(entry["task_ids"]) & set(value.split(","))),
        "deprecated": lambda value: entry["deprecated"] is (value.lower() == "true"),
        "batch_id_not_eq": lambda value: entry["builder_meta"]["batch_id"] != value,
    }
    return all(test(parameters[name]) for name, test in tests.items() if name in parameters)
