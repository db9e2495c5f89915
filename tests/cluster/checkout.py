"""A folder like a checkout of the repository, and waiting for what happens in it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stores.collections import Stores

BIN = Path(sys.executable).parent


def wait_for(what: str, condition: Callable[[], object], seconds: float) -> object:
    """Wait until something is true; its value."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"waited {seconds:g} s for: {what}"
        time.sleep(0.2)
    return found


@dataclass
class Checkout:
    """A folder like a checkout of the repository, with a data root and its embedded database."""

    folder: Path
    environment: dict[str, str]
    stores: Stores

    @property
    def root(self) -> Path:
        """Data root."""
        return self.folder / ".ebsdsg"

    def run(self, *command: str, timeout: float = 300, cwd: Path | None = None) -> str:
        """Output of a command that must succeed."""
        done = subprocess.run(
            self.program(command),
            cwd=cwd or self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, log: str, *command: str) -> subprocess.Popen[bytes]:
        """A command that goes on in the background; its output is in a file of the folder."""
        with (self.folder / log).open("ab") as output:
            return subprocess.Popen(
                self.program(command),
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def program(self, command: tuple[str, ...]) -> list[str]:
        """The command with the program of this very installation, if it is one of ours."""
        own = BIN / command[0]
        return [str(own) if own.is_file() else command[0], *command[1:]]

    def file(self, name: str, **changes: object) -> str:
        """A changed copy of one of the configuration files; its name."""
        import yaml

        source, _, suffix = name.partition("+")
        values = yaml.safe_load((self.folder / source).read_text(encoding="utf-8"))
        path = self.folder / f"{suffix}.yaml"
        path.write_text(yaml.safe_dump({**values, **changes}), encoding="utf-8")
        return path.name
