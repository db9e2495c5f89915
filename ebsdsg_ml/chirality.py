"""Space groups whose crystals are not their own mirror images."""

from __future__ import annotations

# The 65 space groups without improper operations (no inversion, mirror, glide or rotoinversion):
# International Tables for Crystallography A (2016), section 1.6; L. Sohncke (1879).
_SOHNCKE_RANGES = (
    *((1, 1), (3, 5), (16, 24), (75, 80), (89, 98), (143, 146)),
    *((149, 155), (168, 173), (177, 182), (195, 199), (207, 214)),
)
SOHNCKE_GROUPS = frozenset(n for low, high in _SOHNCKE_RANGES for n in range(low, high + 1))
