"""``python -m stores.embedded``: run, show or stop the embedded server of a data root."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from pathlib import Path

from . import lifecycle
from .places import PlaceError
from .server import serve


def main(arguments: list[str] | None = None) -> int:
    """Command line of the server.

    Parameters
    ----------
    arguments : without the program name; None for those of the process

    Returns
    -------
    Exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m stores.embedded", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="data root of the database")
    parser.add_argument(
        "--tcp",
        type=int,
        metavar="PORT",
        help="listen on this port of 127.0.0.1 too (0: any); every user of the machine can connect",
    )
    parser.add_argument(
        "--idle-timeout", type=float, metavar="S", help="stop after S seconds without a connection"
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--status", action="store_true", help="show the running server and leave")
    action.add_argument("--stop", action="store_true", help="stop the running server and leave")
    options = parser.parse_args(arguments)
    if options.status:
        found = lifecycle.status(options.root)
        if found is None:
            print(f"no server runs for {options.root}")
            return 1
        for name, value in dataclasses.asdict(found).items():
            print(f"{name}: {value}")
        return 0
    if options.stop:
        stopped = lifecycle.stop(options.root)
        print("stopped" if stopped else f"no server runs for {options.root}")
        return 0
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(message)s"
    )
    try:
        return serve(options.root, options.tcp, options.idle_timeout)
    except (PlaceError, OSError) as error:
        logging.error("%s", error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
