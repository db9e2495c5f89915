"""Plays a recorded EMmkxtal dialogue byte by byte, whatever is answered.

Called as ``replay.py TRANSCRIPT RECEIVED [FILE COPY]``: the lines that were typed go to RECEIVED,
and if the recorded run wrote a file, FILE is copied to COPY.
"""

from __future__ import annotations

import ast
import os
import shutil
import signal
import sys
import termios
import time


def main() -> None:
    transcript, received, *copy = sys.argv[1:]
    if sys.stdin.isatty():
        settings = termios.tcgetattr(0)
        settings[1] &= ~termios.OPOST
        termios.tcsetattr(0, termios.TCSANOW, settings)
    with open(transcript, encoding="utf-8") as file:
        text = file.read()
    status = text.split("# exit status: ")[1].splitlines()[0]
    with open(received, "w", encoding="utf-8") as log:
        for line in text.split("===== PART B")[1].splitlines():
            kind, _, value = line.partition(" ")
            if kind == "RECV":
                sys.stdout.buffer.write(ast.literal_eval(value))
                sys.stdout.buffer.flush()
            elif kind == "SEND":
                log.write(sys.stdin.readline())
                log.flush()
    if "waiting at end: True" in status:
        time.sleep(3600)
    if copy and os.path.exists(copy[0]):
        shutil.copyfile(copy[0], copy[1])
    if "signal: 11" in status:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)
    sys.exit(int(status.split()[0]))


if __name__ == "__main__":
    main()
