"""The element that a CIF names by the type symbol of an atom, or only by its label.

A label is free text that begins with the element by custom.  What merely begins with the letters of
an element (``Vac``, ``Tet1``, ``Uiso``) names none, nor does what names two (``Fe,Mg``, ``Ca1Sr1``)
or a group of atoms (``PO4``).
"""

from __future__ import annotations

import re

from ebsdsg_sim.elements import ElementError, atomic_number

OXYGEN = ("oh", "ow", "wat", "water")
HYDROGEN = ("hw",)
"""Labels of water and hydroxyl, whose atoms the other letters do not name."""

AMBIGUOUS = ("HO", "VA")
"""Hydrogen of a hydroxyl or holmium, a vacancy or vanadium."""

VALENCE = {"cval": "C", "siva": "Si", "sival": "Si"}
"""Type symbols of the scattering factors of valence states (International Tables C, 6.1.1)."""

_LETTERS = re.compile(r"[A-Za-z]+")
_WATER = re.compile(r"[HD]2O(?![A-Za-z]{2})", re.IGNORECASE)
_GROUP = re.compile(r"(CO3|PO[34]|CF3)(?!\d)")
"""Groups whose letters are those of an element (Co, Po, Cf) in capitals."""

_ROMAN = re.compile(r"I{1,3}|IV|VI{0,3}")
_SITE = re.compile(rf"[ABCDEGIJKLMQRTUVWXYZ]|[Oo]ct|[Tt]et|{_ROMAN.pattern}")
"""What names a site after the element; F, H, N, O, P and S would be a second element."""

_OXYGEN_SITE = re.compile(r"[Oo][A-Da-d][MOmo]?")
"""The oxygens of feldspars."""

_LATER = re.compile(rf"\((?:{_ROMAN.pattern})\)|([,/(\[ ]*)([A-Za-z]+)")
_LATER_SITE = re.compile(r"[ABCDW]|[a-z]")
"""Single letters that name a site after a digit; ``O1W`` is water."""

_NONMETAL = re.compile(r"[FHNOPS](?![a-z])")


def element_of_type(symbol: str) -> str | None:
    """Element of an ``_atom_site_type_symbol`` such as ``Fe3+``; ``None`` if it names none.

    Deuterium and tritium are ``D`` and ``T``.  Some programs write capitals: ``HO`` is holmium, as
    no type symbol is a hydroxyl's hydrogen.
    """
    letters = _letters(symbol)
    if letters in ("T", "t"):
        return "T"
    if letters.lower() in VALENCE:
        return VALENCE[letters.lower()]
    element = letters.capitalize()
    if _is_element(element) and not _names_more(symbol) and not _GROUP.fullmatch(symbol):
        return element
    return element_of_label(symbol)


def element_of_label(label: str) -> str | None:
    """Element of an ``_atom_site_label`` such as ``Fe1A``, ``FeM2``, ``FeIII`` or ``OW``.

    Returns
    -------
    Its symbol, ``None`` if the label names none or more than one.  ``T1`` is a tetrahedral site and
    no tritium, ``H2O`` the oxygen of water.
    """
    letters = _letters(label)
    if _WATER.match(label):
        return "O"
    if _GROUP.match(label) or _names_more(label):
        return None
    if letters.lower() in OXYGEN or _OXYGEN_SITE.fullmatch(letters):
        return "O"
    if letters.lower() in HYDROGEN:
        return "H"
    # VI is vanadium or a number
    if letters in AMBIGUOUS or (len(letters) > 1 and not set(letters) - set("IV")):
        return None
    if _is_element(letters.capitalize()):
        return letters.capitalize()
    for length in (2, 1):
        element, site = letters[:length], letters[length:]
        if _is_element(element) and _SITE.fullmatch(site):
            # SIV is sulphur IV or silicon V
            either = _ROMAN.fullmatch(site) and _is_element(letters[:2].capitalize())
            return None if length == 1 and either else element
    return None


def _letters(text: str) -> str:
    """The letters with which a text begins."""
    found = _LETTERS.match(text)
    return found.group() if found else ""


def _names_more(text: str) -> bool:
    """Whether letters after the first ones name a second element."""
    for later in _LATER.finditer(text, len(_letters(text))):
        before, letters = later.groups(default="")
        listed = "," in before or "/" in before
        if _LATER_SITE.fullmatch(letters) and not (listed and letters.isupper()):
            continue
        # in Ni_br or O_eq small letters say where; in fe/mg they are elements
        if letters[:1].isupper() or listed or text.islower():
            two = re.match(r"[A-Z][a-z](?![a-z])", letters)
            if (
                _is_element(letters.capitalize())
                or (two and _is_element(two.group()))
                or _NONMETAL.search(letters)
            ):
                return True
    return False


def _is_element(symbol: str) -> bool:
    try:
        atomic_number("H" if symbol == "D" else symbol)
    except ElementError:
        return False
    return True
