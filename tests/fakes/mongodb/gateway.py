"""A door before the embedded server that asks for what a real MongoDB asks for.

TLS with a client's certificate, user and password by SCRAM-SHA-256 (RFC 5802, RFC 7677), and an
address of its own as the only member of a replica set.  What passes goes to the embedded server
unchanged.  No mongod can be installed here; handshakes and messages are the real ones.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
import ssl
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stores.embedded import wire

ITERATIONS = 4096
HELLOS = ("hello", "isMaster", "ismaster")


def make_certificates(folder: Path, password: str) -> None:
    """An authority, a server's certificate and a client's, its key encrypted; by openssl."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    for name in ("ca", "other"):
        subject = ("-subj", f"/CN=test authority {name}", "-days", "2")
        openssl(
            "req", "-x509", *ec, "-nodes", *subject, "-keyout", f"{name}.key", "-out", f"{name}.pem"
        )
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1\n")
    for name, extra in (("server", ("-nodes",)), ("client", ("-passout", f"pass:{password}"))):
        openssl(
            "req",
            *ec,
            *extra,
            "-subj",
            f"/CN={name}",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.csr",
        )
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
        openssl(
            "x509", "-req", "-in", f"{name}.csr", *signing, "-extfile", "san", "-out", f"{name}.crt"
        )
        both = (folder / f"{name}.crt").read_text() + (folder / f"{name}.key").read_text()
        (folder / f"{name}.pem").write_text(both)


@dataclass
class Gateway:
    """The door.

    Parameters
    ----------
    backend : Unix socket of the embedded server.
    certificates : folder made by :func:`make_certificates`.
    user, password : that it asks for.
    """

    backend: Path
    certificates: Path
    user: str
    password: str
    port: int = 0
    logins: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Open the door; it stays open in a thread until :meth:`stop`."""
        ready = threading.Event()
        self._loop = asyncio.new_event_loop()

        def serve() -> None:
            asyncio.set_event_loop(self._loop)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificates / "server.pem")
            context.load_verify_locations(self.certificates / "ca.pem")
            context.verify_mode = ssl.CERT_REQUIRED
            server = self._loop.run_until_complete(
                asyncio.start_server(self._converse, "127.0.0.1", 0, ssl=context)
            )
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            self._loop.run_forever()
            server.close()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0.1))
            self._loop.close()

        self._thread = threading.Thread(target=serve, daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def stop(self) -> None:
        """Close the door."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside, outside = await asyncio.open_unix_connection(str(self.backend), limit=2**20)
        login = _Login(self.user, self.password)
        try:
            while True:
                header = await reader.readexactly(wire.HEADER.size)
                body = await reader.readexactly(wire.body_length(header))
                request = wire.parse(header, body)
                name = next(iter(request.command))
                answer = login.answer(name, request.command)
                if answer is not None:
                    if login.passed and name == "saslContinue":
                        self.logins.append(self.user)
                    writer.write(wire.reply(request, answer))
                    continue
                outside.write(header + body)
                if not request.wants_reply:
                    continue
                header = await inside.readexactly(wire.HEADER.size)
                body = await inside.readexactly(wire.body_length(header))
                if name in HELLOS:
                    start = 20 if wire.HEADER.unpack(header)[3] == wire.OP_REPLY else 5
                    told = self._as_member(wire.decode(body[start:]), request.command)
                    writer.write(wire.reply(request, told))
                else:
                    writer.write(header + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            outside.close()
            with suppress(OSError, ssl.SSLError):
                writer.close()

    def _as_member(self, told: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
        """What the server says of itself, as member of a replica set at this address."""
        here = f"127.0.0.1:{self.port}"
        told |= {"setName": "rs0", "hosts": [here], "primary": here, "me": here}
        if "saslSupportedMechs" in asked:
            told["saslSupportedMechs"] = ["SCRAM-SHA-256"]
        return told


class _Login:
    """The server's side of SCRAM-SHA-256 on one connection."""

    def __init__(self, user: str, password: str) -> None:
        self._user, self._password = user, password
        self._salt = secrets.token_bytes(28)
        self._first = ""
        self.passed = False

    def answer(self, name: str, command: dict[str, Any]) -> dict[str, Any] | None:
        """Answer to a command, ``None`` if it may pass."""
        if name == "saslStart":
            return self._challenge(bytes(command["payload"]).decode())
        if name == "saslContinue":
            return self._verify(bytes(command["payload"]).decode())
        if name in HELLOS or self.passed:
            return None
        return {"ok": 0.0, "code": 13, "errmsg": f"command {name} requires authentication"}

    def _challenge(self, message: str) -> dict[str, Any]:
        self._bare = message.removeprefix("n,,")
        fields = dict(part.split("=", 1) for part in self._bare.split(","))
        self._named = fields["n"].replace("=2C", ",").replace("=3D", "=")
        self._nonce = fields["r"] + secrets.token_urlsafe(18)
        salt = base64.b64encode(self._salt).decode()
        self._first = f"r={self._nonce},s={salt},i={ITERATIONS}"
        return {"ok": 1.0, "conversationId": 1, "done": False, "payload": self._first.encode()}

    def _verify(self, message: str) -> dict[str, Any]:
        without, _, proof = message.rpartition(",p=")
        salted = hashlib.pbkdf2_hmac("sha256", self._password.encode(), self._salt, ITERATIONS)
        said = f"{self._bare},{self._first},{without}".encode()
        key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), said, "sha256")
        wanted = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        right = hmac.compare_digest(wanted, base64.b64decode(proof))
        if not right or self._named != self._user or f"r={self._nonce}" not in without:
            return {"ok": 0.0, "code": 18, "errmsg": "Authentication failed."}
        self.passed = True
        server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), said, "sha256")
        payload = b"v=" + base64.b64encode(server)
        return {"ok": 1.0, "conversationId": 1, "done": True, "payload": payload}
