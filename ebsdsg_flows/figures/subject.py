"""What figures and reports are about: a campaign or a training run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stores.collections import Stores


class UnknownSubject(ValueError):
    """There is no campaign and no training run of that name, or more than one."""


def find_subject(stores: Stores, name: str) -> tuple[str, dict[str, Any]]:
    """A campaign by its name, or a training run by its key or the first letters of it.

    Parameters
    ----------
    stores : open database.
    name : of either.

    Returns
    -------
    ``"campaign"`` or ``"run"``, and the document.

    Raises
    ------
    UnknownSubject
        If it is neither, or the beginning of several keys.
    """
    campaign = stores.campaigns.find_one({"key": name}, {"_id": False})
    if campaign is not None:
        return "campaign", campaign
    begins = {"key": {"$regex": f"^{re.escape(name)}"}}
    runs = list(stores.training_runs.find(begins, {"_id": False}).limit(2)) if name else []
    if len(runs) == 1:
        return "run", runs[0]
    if runs:
        raise UnknownSubject(f"more than one training run begins with {name!r}: give more of it")
    names = ", ".join(sorted(stores.campaigns.distinct("key"))) or "none"
    raise UnknownSubject(
        f"no campaign and no training run is called {name!r}; campaigns: {names}; training runs: "
        "`ebsdsg query '{}' -c training_runs --fields key,labels,fold,accuracy`"
    )
