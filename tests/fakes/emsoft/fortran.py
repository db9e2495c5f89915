"""What a Fortran program does with its input: list-directed reads and namelists."""

from __future__ import annotations

import os
import re
import signal
import sys


def first_item(line: str) -> str:
    """The first item of a list-directed character read: quoted, or up to a blank, comma, slash."""
    text = line.strip()
    if text[:1] in ("'", '"'):
        mark = text[0]
        end = 1
        out = ""
        while end < len(text):
            if text[end] == mark:
                if text[end : end + 2] == mark * 2:
                    end += 1
                else:
                    break
            out += text[end]
            end += 1
        return out
    return re.split(r"[\s,/]", text, maxsplit=1)[0]


def numbers(line: str) -> list[float]:
    """Numbers separated by commas or blanks, fractions allowed."""
    values = []
    for part in re.split(r"[\s,]+", line.strip()):
        above, _, below = part.partition("/")
        values.append(float(above) / float(below) if below else float(above))
    return values


def run_time_error(place: str, text: str) -> None:
    """Stop as a gfortran program does."""
    sys.stdout.flush()
    sys.stderr.write(
        f"At line {place}\nFortran runtime error: {text}\n\nError termination. Backtrace:\n"
        "#0  0x7f95580218c2 in ???\n#1  0x7f95580223b9 in ???\n"
    )
    sys.stderr.flush()
    os._exit(2)


def segmentation_fault() -> None:
    """Die as after an unchecked HDF5 error."""
    sys.stdout.flush()
    sys.stderr.write(
        "\nProgram received signal SIGSEGV: Segmentation fault - invalid memory reference.\n\n"
        "Backtrace for this error:\n#0  0x7facb62218c2 in ???\n"
    )
    sys.stderr.flush()
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSEGV)


def fatal(routine: str, text: str) -> None:
    """An EMsoft fatal error: exit code 0."""
    sys.stdout.write(f"\n ----> Fatal error in routine {routine}: {text}\n")
    sys.stdout.flush()
    sys.stderr.write("STOP   Progam ended abnormally\n")
    sys.stderr.flush()
    os._exit(0)


def hdf_error(*routines: str) -> None:
    """The lines EMsoft prints after a failed HDF5 call."""
    for routine in routines:
        sys.stdout.write(f"Error code :          -1\n   returned by routine {routine}\n")


def read_namelist(path: str, group: str, known: dict[str, object]) -> dict[str, object]:
    """Values of a namelist file over the defaults; unknown keys stop the program."""
    name = os.path.basename(path)
    try:
        with open(path, encoding="ascii") as file:
            text = file.read()
    except FileNotFoundError:
        run_time_error(
            "2223 of file <EMSOFT>/src/Source/EMsoftLib/NameListHandlers.f90 (unit = 21)",
            f"Cannot open file '{path}': No such file or directory",
        )
    values = dict(known)
    if f"&{group.lower()}" not in text.lower():
        run_time_error(
            f"2224 of file NameListHandlers.f90 (unit = 21, file = '{name}')", "End of file"
        )
    body = text[text.lower().index(f"&{group.lower()}") + len(group) + 1 : text.rindex("/")]
    lower = {key.lower(): key for key in known}
    for key, value in re.findall(r"([A-Za-z_]\w*)\s*=\s*('(?:[^']|'')*'|[^,\n]+)", body):
        if key.lower() not in lower:
            run_time_error(
                f"2224 of file NameListHandlers.f90 (unit = 21, file = '{name}')",
                f"Cannot match namelist object name {key.lower()}",
            )
        values[lower[key.lower()]] = _value(value.strip())
    return values


def _value(text: str) -> object:
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    if text.upper() in (".TRUE.", ".FALSE.", "T", "F"):
        return text.upper() in (".TRUE.", "T")
    number = float(re.sub("[dD]", "e", text))
    return int(number) if re.fullmatch(r"[+-]?\d+", text) else number
