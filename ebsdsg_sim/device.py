"""The device of a calculation, tried before anything is computed on it."""

from __future__ import annotations

import torch


class DeviceError(RuntimeError):
    """Torch cannot compute on a device; the message says why and what to do."""


def usable_device(name: torch.device | str) -> torch.device:
    """A device on which torch computes.

    Parameters
    ----------
    name : ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ...

    Raises
    ------
    DeviceError
        If there is no such device or a sum on it fails.
    """
    try:
        device = torch.device(name)
        if device.type != "cpu":
            torch.zeros(8, device=device).sum().item()
    except (RuntimeError, AssertionError) as error:  # the latter where torch was built without it
        reason = str(error).strip().split("\n")[0]
        raise DeviceError(
            f"torch cannot use device {str(name)!r}: {reason}; choose 'cpu', or install the "
            "device's driver and a torch that was built for it"
        ) from None
    return device
