"""What an entry that a campaign file left out meant, while an identity held it as ``{}``.

An identity holds the defaults of such an entry spelled out, so that the file which says them is the
same campaign.  Until 23 November 2026 it held ``{}`` in their place.  What was made then is known
again where the values are those that ``{}`` meant then; a default that changes later has another
hash, and is never taken for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stores.identity import content_hash

MEANT = {
    "parameters": "e941c6f40a19b643d6df7f419e93c15783241bf0038ee2bca88df8b0e9f45533",
    "training": "31fb109ca7997db992a1b6f8804d7fac369e743b21398d828aca95bdb1b3ed55",
    "settings": "958824b689b02b6960758a6bff06c04ca7140e40fef33601e2fc6f8c1dbe72cd",
}
"""Hash of the defaults that each of them meant; never to be brought up to date."""


def was_left_out(entry: str, values: Mapping[str, Any]) -> bool:
    """Whether an identity of then may hold ``{}`` in the place of these values.

    Parameters
    ----------
    entry : ``parameters`` of a simulation, ``training``, or ``settings`` of an adaptation.
    values : all of its values.
    """
    return content_hash(values) == MEANT[entry]
