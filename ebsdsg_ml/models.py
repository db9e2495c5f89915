"""Networks: any classifier of torchvision or timm, for grey patterns.

A name that both have is torchvision's; ``timm/resnet18`` asks for timm's.  Without weights from a
file the first convolution is made anew for one channel.  With ImageNet weights the network keeps
its three channels and the grey pattern is repeated: then it is exactly the network that was
pretrained and that the paper fine-tuned.  Nothing is ever downloaded; where the weights came from
is part of the model's record.
"""

from __future__ import annotations

import hashlib
from difflib import get_close_matches
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn


class ModelError(ValueError):
    """A network cannot be built or its weights do not fit; the message says which and why."""


class GreyRepeated(nn.Module):
    """A three-channel network fed with one grey channel, repeated.

    Parameters
    ----------
    network : takes (n, 3, H, W).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, patterns: Tensor) -> Tensor:
        """Logits (n, classes) of patterns (n, 1, H, W)."""
        return self.network(patterns.expand(-1, 3, -1, -1))


def build_model(
    name: str, n_classes: int, *, weights: str | Path | None = None, seed: int = 0
) -> tuple[nn.Module, str]:
    """Make a network with fresh last layer.

    Parameters
    ----------
    name : a classification model of torchvision or timm, ``"resnet18"`` for example.
    n_classes : number of outputs.
    weights : file of weights as torchvision or timm distributes them (a state dictionary, or
        ``.safetensors``), or None to start from random ones.
    seed : of the random weights; the global random state is left alone.

    Returns
    -------
    network : takes (n, 1, H, W) float patterns, gives (n, n_classes) logits.
    origin : ``"none"``, or ``"<file name> sha256 <digest>"``.

    Raises
    ------
    ModelError
        If the name is unknown, the file is missing or unreadable, or its tensors do not fit.
    """
    network = bare_network(name, n_classes, grey=weights is None, seed=seed)
    if weights is None:
        return network, "none"
    path = Path(weights)
    origin = _load_pretrained(network, path, name)
    return GreyRepeated(network), origin


def rebuild_model(name: str, n_classes: int, *, repeated: bool) -> nn.Module:
    """Make the network of a saved model, to be filled with its weights.

    Parameters
    ----------
    name, n_classes : as in :func:`build_model`.
    repeated : True for a network that started from three-channel weights.
    """
    network = bare_network(name, n_classes, grey=not repeated)
    return GreyRepeated(network) if repeated else network


def bare_network(name: str, n_classes: int, *, grey: bool, seed: int = 0) -> nn.Module:
    """Make a randomly initialised network.

    Parameters
    ----------
    name : classification model of torchvision or timm.
    n_classes : number of outputs.
    grey : give its first convolution one input channel instead of three.
    seed : of the weights.

    Raises
    ------
    ModelError
        If neither has such a classification model, or it has no convolution to change.
    """
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name in _torchvision_networks():
            network = torchvision.models.get_model(name, weights=None, num_classes=n_classes)
            if grey:
                _one_channel(network, name)
            return network
        return _timm_network(name, n_classes, 1 if grey else 3)


def check_network(name: str) -> None:
    """Refuse a name that neither torchvision nor timm knows; nothing is built.

    Parameters
    ----------
    name : as in :func:`build_model`.

    Raises
    ------
    ModelError
        Naming networks that are called alike.
    """
    if name not in _torchvision_networks():
        _known_timm_network(name)


def _torchvision_networks() -> list[str]:
    import torchvision

    return torchvision.models.list_models(module=torchvision.models)


def _timm_network(name: str, n_classes: int, channels: int) -> nn.Module:
    """Randomly initialised network of timm, which makes the first layer for any channels."""
    own = _known_timm_network(name)
    import timm

    try:
        return timm.create_model(own, pretrained=False, num_classes=n_classes, in_chans=channels)
    except TypeError as error:  # some architectures take no other number of channels
        raise ModelError(f"timm's {own} cannot take {channels} channels: {error}") from error


def _known_timm_network(name: str) -> str:
    """What timm calls a network, which it must have."""
    try:
        import timm
    except ImportError:
        raise ModelError(
            f"{name!r} is no torchvision model; for timm's, install ebsdsg[timm]"
        ) from None
    own = name.removeprefix("timm/")
    if not timm.is_model(own):
        near = get_close_matches(own, timm.list_models(), n=5) or ["resnet18", "resnet50"]
        raise ModelError(f"no torchvision or timm model {name!r}; like it: {', '.join(near)}")
    return own


def _one_channel(network: nn.Module, name: str) -> None:
    """Replace the first convolution by one for a single channel, initialised like the others."""
    found = [(p, m) for p, m in network.named_modules() if isinstance(m, nn.Conv2d)]
    if not found:
        raise ModelError(f"{name} has no convolution: it cannot take grey patterns")
    path, module = found[0]
    if module.in_channels != 3:
        raise ModelError(f"the first convolution of {name} takes {module.in_channels} channels")
    new = nn.Conv2d(
        1,
        module.out_channels,
        kernel_size=module.kernel_size,  # type: ignore[arg-type]
        stride=module.stride,  # type: ignore[arg-type]
        padding=module.padding,  # type: ignore[arg-type]
        bias=module.bias is not None,
    )
    # He et al. (2015), as torchvision's residual networks initialise theirs
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    parent, _, child = path.rpartition(".")
    setattr(network.get_submodule(parent), child, new)


def _load_pretrained(network: nn.Module, path: Path, name: str) -> str:
    """Fill a network from a file, its last layer excepted; return the origin."""
    if not path.is_file():
        raise ModelError(f"weights file {path} does not exist; give a local file or none")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:  # torch's own message advises to read it unsafely
        raise ModelError(
            f"weights file {path} cannot be read: it is not one of torch, or holds more than "
            "weights; nothing in it was run"
        ) from error
    except Exception as error:  # torch raises many types for broken files
        raise ModelError(f"weights file {path} cannot be read: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ModelError(f"weights file {path} is not a dictionary of tensors")
    own = network.state_dict()
    head = [path for path, m in network.named_modules() if isinstance(m, nn.Linear)][-1]
    state = {k: t for k, t in state.items() if not k.startswith(head + ".")}
    wrong = [k for k, t in state.items() if k not in own or own[k].shape != t.shape]
    # old files lack BatchNorm's batch counters, which no computation here uses
    missing = [
        k
        for k in own
        if k not in state and not k.startswith(head + ".") and not k.endswith("num_batches_tracked")
    ]
    if wrong or missing:
        raise ModelError(
            f"weights file {path} does not fit {name}: "
            f"{len(missing)} tensors missing {missing[:3]}, {len(wrong)} not fitting {wrong[:3]}"
        )
    network.load_state_dict({**own, **state})
    return f"{path.name} sha256 {digest}"
