"""A network taken apart into generator and head, and put together again.

Every classifier here ends in one linear layer.  All before it is the generator (the paper's word);
a mean of several linear heads' logits is again one linear head, so an adapted network is always an
ordinary one with an ordinary model file.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ebsdsg_ml.models import ModelError


def split(network: nn.Module) -> tuple[nn.Module, nn.Linear, str]:
    """Take the last linear layer off a network, in place.

    Parameters
    ----------
    network : ends in a linear layer.

    Returns
    -------
    generator : the network, giving (n, features).
    head : the layer.
    path : where it was.

    Raises
    ------
    ModelError
        If the network has no linear layer.
    """
    linear = [(path, m) for path, m in network.named_modules() if isinstance(m, nn.Linear)]
    if not linear:
        raise ModelError(f"{type(network).__name__} has no linear layer to take as its head")
    path, head = linear[-1]
    network.set_submodule(path, nn.Identity())
    return network, head, path


def joined(generator: nn.Module, head: nn.Linear, path: str) -> nn.Module:
    """Copy of a generator and a head as one network; the inverse of :func:`split`.

    Parameters
    ----------
    generator, head, path : from :func:`split`.
    """
    network = copy.deepcopy(generator)
    network.set_submodule(path, copy.deepcopy(head))
    return network


def mean_head(heads: Sequence[nn.Linear]) -> nn.Linear:
    """The linear head whose logits are the mean of some heads' logits."""
    head = copy.deepcopy(heads[0])
    with torch.no_grad():
        head.weight.copy_(torch.stack([h.weight for h in heads]).mean(dim=0))
        head.bias.copy_(torch.stack([h.bias for h in heads]).mean(dim=0))
    return head


def fresh_heads(head: nn.Linear, count: int, seed: int) -> list[nn.Linear]:
    """Newly initialised heads like a given one, each different; the random state is left alone.

    Parameters
    ----------
    head : gives the shape.
    count : number of heads.
    seed : of their weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        heads = [nn.Linear(head.in_features, head.out_features) for _ in range(count)]
    return [h.to(device=head.weight.device, dtype=head.weight.dtype) for h in heads]


def batchnorm_layers(network: nn.Module) -> list[_BatchNorm]:
    """All BatchNorm layers that keep running averages."""
    found = (m for m in network.modules() if isinstance(m, _BatchNorm))
    return [m for m in found if m.track_running_stats]


def counted_twice(layers: Iterable[_BatchNorm]) -> list[float | None]:
    """Set momenta such that one pass moves the running averages as two equal passes would.

    Two updates r <- (1 - m) r + m b with the same batch b are one with 1 - (1 - m)^2.

    Returns
    -------
    The momenta before, for :func:`set_momenta`.
    """
    layers = list(layers)
    before = [layer.momentum for layer in layers]
    for layer in layers:
        if layer.momentum is not None:
            layer.momentum = 1 - (1 - layer.momentum) ** 2
    return before


def set_momenta(layers: Iterable[_BatchNorm], momenta: Iterable[float | None]) -> None:
    """Set the momenta of BatchNorm layers."""
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


class _Moments:
    """Mean and variance of all values that reach a BatchNorm layer, batch by batch."""

    def __init__(self, layer: _BatchNorm) -> None:
        self.layer, self.count = layer, 0
        self.mean = torch.zeros_like(layer.running_mean, dtype=torch.float64)  # type: ignore[arg-type]
        self.squares = torch.zeros_like(self.mean)

    def add(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Forward hook of the layer; Chan, Golub and LeVeque's sum of two samples."""
        values = inputs[0]
        n = values.numel() // values.shape[1]
        but_channels = [0, *range(2, values.ndim)]
        variance, mean = torch.var_mean(values.float(), dim=but_channels, correction=0)
        step = mean - self.mean
        total = self.count + n
        self.mean += step * n / total
        self.squares += variance * n + step**2 * (self.count * n / total)
        self.count = total

    def give(self) -> None:
        """Put them in the place of the layer's running averages (variance with n - 1, as torch)."""
        averages = self.layer.running_mean, self.layer.running_var
        averages[0].copy_(self.mean)  # type: ignore[union-attr]
        averages[1].copy_(self.squares / (self.count - 1))  # type: ignore[union-attr]


@torch.no_grad()
def adapt_batchnorm(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace BatchNorm's running averages by those of some inputs, in place.

    The averages are those of all inputs together: every value counts once, and the variance has
    the part between the batches.

    Parameters
    ----------
    network : to change; nothing but the averages is.
    batches : inputs, more than one in each.  A layer sees what the layers before it make of a batch
        by the batch's own averages, so batches should be large, of about one size and each like
        all inputs: :meth:`ebsdsg_ml.adaptation.domains.Pool.mixed`.

    Raises
    ------
    ModelError
        If the network has no BatchNorm.

    Notes
    -----
    Y. Li et al., *Revisiting Batch Normalization for Practical Domain Adaptation*,
    arXiv:1603.04779 (AdaBN).
    """
    layers = batchnorm_layers(network)
    if not layers:
        raise ModelError(f"{type(network).__name__} has no BatchNorm whose averages could adapt")
    moments = [_Moments(layer) for layer in layers]
    hooks = [m.layer.register_forward_pre_hook(m.add) for m in moments]
    network.eval()
    for layer in layers:
        layer.train()
    try:
        for inputs in batches:
            network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
        network.eval()
    for found in moments:
        found.give()
