"""The element that a CIF names by the type symbol of an atom, or only by its label.

A label is free text that begins with the element by custom.  What merely begins with the letters of
an element (``Vac``, ``Tet1``, ``Uiso``) names none.
"""

from __future__ import annotations

import re

from ebsdsg_sim.elements import ElementError, atomic_number

OXYGEN = ("oh", "ow", "wat", "water")
HYDROGEN = ("hw",)
"""Labels of water and hydroxyl, whose atoms the other letters do not name."""

AMBIGUOUS = ("HO", "VA")
"""Hydrogen of a hydroxyl or holmium, a vacancy or vanadium."""

_LETTERS = re.compile(r"[A-Za-z]+")
_SITE = re.compile(r"[ABCDEGIJKLMQRTUVWXYZ]|[Oo]ct|[Tt]et")
"""What names a site after the element; F, H, N, O, P and S would be a second element."""

_OXYGEN_SITE = re.compile(r"[Oo][A-Da-d][MOmo]?")
"""The oxygens of feldspars."""


def element_of_type(symbol: str) -> str | None:
    """Element of an ``_atom_site_type_symbol`` such as ``Fe3+``; ``None`` if it names none.

    Deuterium and tritium are ``D`` and ``T``.
    """
    return "T" if _letters(symbol) in ("T", "t") else element_of_label(symbol)


def element_of_label(label: str) -> str | None:
    """Element of an ``_atom_site_label`` such as ``Fe1A``, ``FeM2`` or ``OW``.

    Returns
    -------
    Its symbol, ``None`` if the label names none.  ``T1`` is a tetrahedral site and no tritium.
    """
    letters = _letters(label)
    if letters.lower() in OXYGEN or _OXYGEN_SITE.fullmatch(letters):
        return "O"
    if letters.lower() in HYDROGEN:
        return "H"
    if letters in AMBIGUOUS:
        return None
    if _is_element(letters.capitalize()):
        return letters.capitalize()
    for length in (2, 1):
        element, site = letters[:length], letters[length:]
        if _is_element(element) and _SITE.fullmatch(site):
            return element
    return None


def _letters(text: str) -> str:
    """The letters with which a text begins."""
    found = _LETTERS.match(text)
    return found.group() if found else ""


def _is_element(symbol: str) -> bool:
    try:
        atomic_number("H" if symbol == "D" else symbol)
    except ElementError:
        return False
    return True
