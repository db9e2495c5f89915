"""The server process: sockets, connections and a keeper that starts it again when it is killed.

Two processes serve a data root. The keeper takes the root's lock, opens the sockets and forks the
server; when the server dies by a signal it forks another, which finds the same sockets open and
the same journal. Clients that were connected see a broken connection and retry; clients that
connect in between wait in the socket's queue. The kernel frees the lock when both are gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from .places import RUNNING_ALREADY, Places, is_still, lock, read_state, write_state

log = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS = 30
SYNCHRONISE_SECONDS = 1.0
# A server killed this often in a row before it could answer is not started again (no memory?).
_FAILED_STARTS = 3


def serve(root: Path, tcp: int | None = None, idle_timeout: float | None = None) -> int:
    """Serve a data root until told to stop; the body of ``python -m stores.embedded``.

    Parameters
    ----------
    root : data root
    tcp : also listen on this port of 127.0.0.1 (0: any free one); None for the Unix socket only
    idle_timeout : stop after this many seconds without a connection; None for never

    Returns
    -------
    Exit code: 0 after an orderly stop, 75 if the root is served already.
    """
    places = Places.of(root)
    places.prepare()
    held = lock(places.server_lock)
    if held is None:
        log.error("%s is served by another process already", root)
        return RUNNING_ALREADY
    places.prepare()  # again: a server that just stopped may have removed its socket's directory
    os.umask(0o077)
    sockets = [_unix_socket(places.socket)]
    for link in places.links:
        link.unlink(missing_ok=True)
        link.symlink_to(places.socket)
    if tcp is not None:
        sockets.append(_tcp_socket(tcp))
    try:
        return _keep(places, sockets, idle_timeout)
    finally:
        for listening in sockets:
            listening.close()
        if is_still(os.fstat(held), places.server_lock):  # else the files are a later server's
            for path in (places.state, *places.links, places.socket):
                path.unlink(missing_ok=True)
            if places.socket.parent != places.directory:
                with contextlib.suppress(OSError):  # not empty: somebody else uses it
                    places.socket.parent.rmdir()
        os.close(held)


def _unix_socket(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # we hold the lock, so it is nobody's
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listening.bind(str(path))
    finally:
        os.umask(before)
    path.chmod(0o600)
    listening.listen(512)
    return listening


def _tcp_socket(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(512)
    return listening


def _keep(places: Places, sockets: list[socket.socket], idle_timeout: float | None) -> int:
    """Run the server in a child process, again and again while it is killed."""
    child = 0
    stopping = False

    def stop(number: int, frame: Any) -> None:
        nonlocal stopping
        stopping = True
        if child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    failed_starts = 0
    while True:
        # blocked, so that a signal finds either no child or one it can be passed on to
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        if stopping:
            return 0
        child = os.fork()
        if child == 0:
            _become_server(places, sockets, idle_timeout)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code >= 0 or stopping:
            return max(code, 0)
        state = read_state(places)
        served = state is not None and state["pid"] == child
        failed_starts = 0 if served else failed_starts + 1
        if failed_starts >= _FAILED_STARTS:
            log.error("the server was killed %d times before it answered; giving up", failed_starts)
            return 1
        log.warning("the server was killed by signal %d; starting it again", -code)


def _become_server(
    places: Places, sockets: list[socket.socket], idle_timeout: float | None
) -> None:
    """Be the server in the forked child; does not return."""
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        asyncio.run(Server(places, sockets, idle_timeout).run())
        code = 0
    except BaseException:
        log.exception("the server failed")
    finally:
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)


class Server:
    """The connections of one server process.

    Parameters
    ----------
    places : files of the data root
    sockets : listening sockets, Unix and perhaps TCP
    idle_timeout : stop after this many seconds without a connection
    """

    def __init__(
        self, places: Places, sockets: list[socket.socket], idle_timeout: float | None
    ) -> None:
        self.places = places
        self.sockets = sockets
        self.idle_timeout = idle_timeout
        self._connections: set[asyncio.Task[None]] = set()
        self._last_used = time.monotonic()

    async def run(self) -> None:
        """Serve until SIGTERM, SIGINT or the idle time-out."""
        # Imported here and not above: the keeper needs none of it.
        from . import commands  # noqa: F401
        from .engine import Engine

        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
        self.engine = Engine(self.places.journal)
        servers = [await self._listen(listening) for listening in self.sockets]
        self._last_used = time.monotonic()
        self.engine.description = self._state()
        write_state(self.places, self.engine.description)
        log.info(
            "serving %s: %d collections, %d documents",
            self.places.root,
            len(self.engine.collections),
            sum(map(len, self.engine.collections.values())),
        )
        keepers = [
            asyncio.create_task(self._housekeeping()),
            asyncio.create_task(self._synchronise(stop)),
            asyncio.create_task(self._stop_when_idle(stop)),
        ]
        await stop.wait()
        for server in servers:
            server.close()
        for task in [*keepers, *self._connections]:
            task.cancel()
        await asyncio.gather(*keepers, *self._connections, return_exceptions=True)
        self.engine.close()
        log.info("stopped")

    def _state(self) -> dict[str, Any]:
        tcp = [s.getsockname()[1] for s in self.sockets if s.family == socket.AF_INET]
        return {
            "socket": str(self.places.socket),
            "tcp": tcp[0] if tcp else None,
            "pid": os.getpid(),
            "keeper": os.getppid(),
            "host": platform.node(),
            "started": time.time(),
        }

    async def _listen(self, listening: socket.socket) -> asyncio.Server:
        if listening.family == socket.AF_INET:
            address = f"127.0.0.1:{listening.getsockname()[1]}"
        else:
            address = str(self.places.address)

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._converse(reader, writer, address))
            self._connections.add(task)
            task.add_done_callback(self._disconnected)

        # The socket is shared with the keeper: give asyncio a duplicate it may close.
        copy = listening.dup()
        copy.setblocking(False)
        if listening.family == socket.AF_INET:
            return await asyncio.start_server(connected, sock=copy, limit=2**20)
        return await asyncio.start_unix_server(connected, sock=copy, limit=2**20)

    def _disconnected(self, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        self._last_used = time.monotonic()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str
    ) -> None:
        """Answer the requests of one connection until it ends."""
        from . import wire
        from .commands import execute
        from .errors import DatabaseError

        try:
            while True:
                header = await reader.readexactly(wire.HEADER.size)
                body = await reader.readexactly(wire.body_length(header))
                request = wire.parse(header, body)
                document = execute(self.engine, request.command, address)
                if not request.wants_reply:
                    continue
                try:
                    data = wire.reply(request, document)
                except (DatabaseError, ValueError, TypeError) as error:
                    failure = (
                        error
                        if isinstance(error, DatabaseError)
                        else DatabaseError(1, f"the reply could not be encoded: {error}")
                    )
                    data = wire.reply(request, failure.reply)
                writer.write(data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away, which is how conversations end
        except wire.ProtocolError as error:
            log.warning("closed a connection: %s", error)
        except Exception:
            log.exception("closed a connection")
        finally:
            writer.close()

    async def _housekeeping(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            try:
                self.engine.delete_expired()
            except Exception:
                log.exception("housekeeping failed")

    async def _synchronise(self, stop: asyncio.Event) -> None:
        journal = self.places.journal.stat()
        while True:
            await asyncio.sleep(SYNCHRONISE_SECONDS)
            if not is_still(journal, self.places.journal):
                log.error("%s was deleted; stopping", self.places.journal)
                stop.set()
                return
            if self.engine.unsynchronised:
                self.engine.unsynchronised = False
                try:
                    await asyncio.to_thread(self.engine.journal.synchronise)
                except Exception:
                    log.exception("the journal could not be synchronised")
                    self.engine.unsynchronised = True

    async def _stop_when_idle(self, stop: asyncio.Event) -> None:
        while self.idle_timeout is not None:
            idle = time.monotonic() - self._last_used
            if self._connections:
                idle = 0.0
            if idle >= self.idle_timeout:
                log.info("no connection for %g s", self.idle_timeout)
                stop.set()
                return
            await asyncio.sleep(min(self.idle_timeout - idle, 1.0))
