"""The client's side: have a server running for a data root, find it again, stop it.

`ensure_running` is what everything else calls. It asks at the root's socket; if nobody answers
it starts a server, under a lock, so that ten processes that ask at the same moment get
the same server.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .places import RUNNING_ALREADY, Places, lock, read_state

START_SECONDS = 60.0
"""How long a server may take to answer; reading 10⁵ documents takes a few seconds."""
PING_SECONDS = 5.0


# Servers outlive the process that starts them; those started here are kept to be reaped.
_started: list[subprocess.Popen[bytes]] = []


class ServerError(RuntimeError):
    """The embedded server cannot be started, reached or stopped."""


@dataclass(frozen=True)
class ServerStatus:
    """What a running server says about itself.

    Attributes
    ----------
    uri : MongoDB URI over the Unix socket
    tcp_uri : MongoDB URI over 127.0.0.1, or None
    pid : process that serves
    keeper : process that starts it again when it is killed
    collections, documents : how many it holds
    log : its log file
    """

    uri: str
    tcp_uri: str | None
    pid: int
    keeper: int
    collections: int
    documents: int
    log: Path


def socket_uri(path: Path) -> str:
    """MongoDB URI of a Unix socket.

    ``directConnection`` keeps the driver from looking for other members of the replica set of one
    that the server presents itself as.
    """
    return f"mongodb://{quote(str(path), safe='')}/?directConnection=true"


def ensure_running(
    root: Path | str, *, tcp: int | None = None, idle_timeout: float | None = None
) -> str:
    """URI of the data root's server, which is started if none runs.

    Parameters
    ----------
    root : data root; made if missing
    tcp, idle_timeout : as for ``python -m stores.embedded``, if a server has to be started

    Returns
    -------
    MongoDB URI over the Unix socket.

    Raises
    ------
    ServerError
        If the server does not come up, or runs on another host.
    """
    places = Places.of(root)
    if _ask(places) is not None:
        return socket_uri(places.socket)
    places.prepare()
    with _starting(places):
        _refuse_other_host(places)
        _bring_up(places, tcp, idle_timeout)
    return socket_uri(places.socket)


def status(root: Path | str) -> ServerStatus | None:
    """What the data root's server says about itself; None if none runs."""
    places = Places.of(root)
    answer = _ask(places)
    if answer is None:
        return None
    port = answer["tcp"]
    return ServerStatus(
        uri=socket_uri(places.socket),
        tcp_uri=None if port is None else f"mongodb://127.0.0.1:{port}/?directConnection=true",
        pid=answer["pid"],
        keeper=answer["keeper"],
        collections=answer["collections"],
        documents=answer["documents"],
        log=places.log,
    )


def stop(root: Path | str, timeout: float = 30.0) -> bool:
    """Stop the data root's server in good order.

    Parameters
    ----------
    root : data root
    timeout : seconds to wait

    Returns
    -------
    True if a server was stopped, False if none ran.

    Raises
    ------
    ServerError
        If it does not stop in time.
    """
    places = Places.of(root)
    if not places.directory.exists():
        return False
    with _starting(places):
        if not _is_served(places):
            return False
        deadline = time.monotonic() + timeout
        pids: set[int] = set()
        while _is_served(places) or any(map(_is_ours, pids)):
            # one that is busy or hangs is known from its file
            state = _ask(places) or read_state(places)
            if state is not None and state["host"] == platform.node():
                pids |= {state["keeper"], state["pid"]}
                _terminate(*pids)
            if time.monotonic() > deadline:
                raise ServerError(
                    f"the server of {places.root} did not stop within {timeout:g} s; "
                    f"see {places.log}"
                )
            time.sleep(0.05)
    return True


def _terminate(*pids: int) -> None:
    for pid in pids:
        if _is_ours(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def _is_ours(pid: int) -> bool:
    """True if the process is a server of ours: a stale number may be anybody's by now."""
    if pid <= 1:
        return False
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        # no such process, or no /proc (macOS): ps knows
        shown = subprocess.run(
            ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False
        )
        command = shown.stdout
    return b"stores.embedded" in command


def _is_served(places: Places) -> bool:
    held = lock(places.server_lock)
    if held is None:
        return True
    os.close(held)
    return False


@contextlib.contextmanager
def _starting(places: Places) -> Iterator[None]:
    held = lock(places.start_lock, wait=True)
    assert held is not None
    try:
        yield
    finally:
        os.close(held)


def _refuse_other_host(places: Places) -> None:
    state = read_state(places)
    if state is not None and state["host"] not in (None, platform.node()):
        raise ServerError(
            f"the database of {places.root} is served on {state['host']}; the embedded server is "
            f"for one machine. Stop it there, or set EBSDSG_MONGO_URI to a MongoDB server. If that "
            f"machine is gone, delete {places.state}"
        )


def _start(places: Places, tcp: int | None, idle_timeout: float | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "stores.embedded", "--root", str(places.root)]
    if tcp is not None:
        command += ["--tcp", str(tcp)]
    if idle_timeout is not None:
        command += ["--idle-timeout", str(idle_timeout)]
    for process in list(_started):
        if process.poll() is not None:  # also frees the process table of it
            _started.remove(process)
    descriptor = os.open(places.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            cwd="/",
            env=_environment(),
        )
    finally:
        os.close(descriptor)
    _started.append(process)
    return process


def _environment() -> dict[str, str]:
    """The environment with this package importable, wherever the caller found it."""
    packages = str(Path(__file__).resolve().parents[2])
    paths = [packages, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _bring_up(places: Places, tcp: int | None, idle_timeout: float | None) -> None:
    """Start a server unless one is there, and wait until it answers."""
    process: subprocess.Popen[bytes] | None = None
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if _ask(places) is not None:
            return
        # A lock that is held belongs to a server that is loading, or to one that is just dying.
        # While ours loads it is not asked about: asking takes it for a moment.
        loading = process is not None and process.poll() is None
        if not loading and not _is_served(places):
            if process is None or process.returncode == RUNNING_ALREADY:  # lost to another's look
                process = _start(places, tcp, idle_timeout)
            else:
                raise ServerError(
                    f"the embedded server of {places.root} ended with code {process.returncode}:\n"
                    f"{_log_tail(places)}"
                )
        time.sleep(0.03)
    raise ServerError(
        f"the embedded server of {places.root} did not answer within {START_SECONDS:g} s:\n"
        f"{_log_tail(places)}"
    )


def _log_tail(places: Places, lines: int = 15) -> str:
    if not places.log.exists():
        return f"(no log at {places.log})"
    return "\n".join(places.log.read_text(errors="replace").splitlines()[-lines:])


def _ask(places: Places) -> dict[str, Any] | None:
    """The server's ``serverStatus``; None if nobody, or a server of another root, answers."""
    from . import wire

    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(PING_SECONDS)
            connection.connect(str(places.socket))
            connection.sendall(wire.command_message({"serverStatus": 1, "$db": "admin"}))
            header = _receive(connection, wire.HEADER.size)
            body = _receive(connection, wire.body_length(header))
    except (OSError, wire.ProtocolError):
        return None
    answer = wire.decode(body[5:])
    if answer.get("root") != str(places.root):
        return None
    # a server of another version may say less about itself
    return {"tcp": None, "keeper": 0, "host": platform.node(), **answer}


def _receive(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = connection.recv(length - len(data))
        if not part:
            raise ConnectionError("the server closed the connection")
        data += part
    return data
