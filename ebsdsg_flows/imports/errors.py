"""What can go wrong with an import, by what can be done about it."""

from __future__ import annotations


class ImportFailed(RuntimeError):
    """An import cannot start, or cannot be recorded; the message says what to do."""


class MaterialsProjectError(RuntimeError):
    """The Materials Project gave no usable answer; the message says what was asked."""


class Rejected(MaterialsProjectError):
    """The server understood the request and says no (key, query): asking again is of no use."""


class NoAnswer(MaterialsProjectError):
    """All attempts at one request failed; what it asked for is missing and can be asked later."""
