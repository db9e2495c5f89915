"""What a stand-in program was told to do wrong: a JSON file named by EMSOFT_STAND_IN.

``{"EMEBSDmaster Ni.xtal": {"do": "die", "energy": 6}}``: the key is the program and the name of the
crystal file (or ``*``).  An order with ``"once": true`` is carried out one time only.
"""

from __future__ import annotations

import json
import os


def orders(program: str, xtal: str) -> dict[str, object]:
    """The order for this program and crystal; empty if there is none."""
    path = os.environ.get("EMSOFT_STAND_IN")
    if not path or not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        listed = json.load(file)
    name = os.path.basename(xtal)
    for key in (f"{program} {name}", f"{program} *"):
        if key in listed:
            order = listed[key]
            if order.get("once"):
                try:
                    os.close(
                        os.open(f"{path}.{key.replace(' ', '_')}.done", os.O_CREAT | os.O_EXCL)
                    )
                except FileExistsError:
                    return {}
            return order
    return {}
