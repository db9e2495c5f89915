"""Where the embedded database of a data root keeps its files, and who may look at them.

Everything is in ``<root>/mongodb``, a directory only its owner may enter: there is no password, so
the directory is the lock on the door. A Unix socket's path has about 100 bytes; for a deeper root
the socket lives in a private directory below the system's temporary one, and a link in its place.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUNNING_ALREADY = 75
"""Exit code of a server when another process serves the data root (EX_TEMPFAIL)."""
MAX_SOCKET_PATH = 100
"""Bytes; Linux allows 107 and macOS 103."""


class PlaceError(RuntimeError):
    """A directory or file that cannot be trusted or used."""


@dataclass(frozen=True)
class Places:
    """Files of one data root.

    Attributes
    ----------
    root : data root, absolute and without links
    directory : ``<root>/mongodb``, mode 0700
    socket : Unix socket, mode 0600, in `directory` or a private temporary one
    address : path of the socket, or of a link to it, that the server tells drivers to use; they
        fold what a server tells them to lower case, so this one has no capitals
    """

    root: Path
    directory: Path
    socket: Path
    address: Path

    @classmethod
    def of(cls, root: Path | str) -> Places:
        """Places of a data root, which need not exist yet."""
        root = Path(root).expanduser().resolve()
        directory = root / "mongodb"
        inside = directory / "mongodb.sock"
        outside = _private_place(root) / "mongodb.sock"
        socket = inside if len(os.fsencode(inside)) <= MAX_SOCKET_PATH else outside
        address = socket if str(socket) == str(socket).lower() else outside
        return cls(root, directory, socket, address)

    @property
    def links(self) -> list[Path]:
        """Other paths that lead to the socket."""
        return [p for p in (self.directory / "mongodb.sock", self.address) if p != self.socket]

    @property
    def journal(self) -> Path:
        """SQLite file."""
        return self.directory / "mongodb.sqlite"

    @property
    def state(self) -> Path:
        """JSON about the running server."""
        return self.directory / "server.json"

    @property
    def log(self) -> Path:
        """Log of the server."""
        return self.directory / "server.log"

    @property
    def server_lock(self) -> Path:
        """Locked as long as a server runs."""
        return self.directory / "server.lock"

    @property
    def start_lock(self) -> Path:
        """Locked while somebody starts or stops a server."""
        return self.directory / "start.lock"

    def prepare(self) -> None:
        """Make the directories, and check that nobody else can enter them.

        Raises
        ------
        PlaceError
            If a directory belongs to somebody else, is a link, or cannot be made.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            _private_directory(self.directory)
            _private_directory(self.socket.parent)
            _private_directory(self.address.parent)
        except OSError as error:
            raise PlaceError(f"no database can be kept in {self.root}: {error}") from error


def _private_place(root: Path) -> Path:
    """Directory of a root's socket below the temporary directory: short and without capitals."""
    temporary = tempfile.gettempdir()
    if temporary != temporary.lower() or len(os.fsencode(temporary)) > MAX_SOCKET_PATH - 50:
        temporary = "/tmp"
    name = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    return Path(temporary) / f"ebsdsg-{os.getuid()}-{name}"


def _private_directory(path: Path) -> None:
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PlaceError(
            f"{path} is not a directory of yours (owner {found.st_uid}); remove it or use another "
            "data root"
        )
    if stat.S_IMODE(found.st_mode) != 0o700:
        path.chmod(0o700)


def lock(path: Path, *, wait: bool = False) -> int | None:
    """Lock a file; the kernel frees it when the last process that holds the descriptor is gone.

    Returns
    -------
    File descriptor to close for unlocking; None if somebody else has the lock and `wait` is false.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_still(file: os.stat_result, path: Path) -> bool:
    """True if the path still leads to the file it led to before."""
    try:
        return os.path.samestat(file, path.stat())
    except FileNotFoundError:
        return False


def write_state(places: Places, state: dict[str, Any]) -> None:
    """Write the state file so that a reader sees the old one or the new one."""
    temporary = places.state.with_suffix(f".{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(state, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(places.state)


def read_state(places: Places) -> dict[str, Any] | None:
    """The state file's content; None if there is none or it is damaged."""
    try:
        state = json.loads(places.state.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    known = isinstance(state, dict) and {"pid", "keeper", "host"} <= set(state)
    return state if known else None
