"""MCD against a derivation by hand in float64, and who is changed by which stage."""

from __future__ import annotations

import copy
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn

from ebsdsg_ml.adaptation import AdaptationConfig
from ebsdsg_ml.adaptation.mcd import MCD, discrepancy

RATE, N, HIDDEN, CLASSES = 0.5, 7, 6, 3
Mode = Literal["separate", "joint"]


def tiny(mode: Mode, turns: int = 4) -> MCD:
    """Linear layer, BatchNorm, ReLU and two heads, in double precision, plain gradient descent."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(),
        nn.Linear(9, HIDDEN, bias=False),
        nn.BatchNorm1d(HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, CLASSES),
    ).double()
    config = AdaptationConfig(
        optimizer="sgd",
        learning_rate=RATE,
        momentum=0.0,
        batch_size=N,
        generator_steps=turns,
        batchnorm=mode,
    )
    method = MCD(network, config)
    method.networks.train()
    return method


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(1)
    source = torch.from_numpy(rng.normal(size=(N, 1, 3, 3)))
    target = torch.from_numpy(1 + 2 * rng.normal(size=(N, 1, 3, 3)))
    return source, torch.tensor([0, 1, 2, 0, 1, 2, 1]), target


class ByHand:
    """The same in NumPy, with gradients derived on paper.

    Features f = relu(g (z - mean z) / s + b), z = x W'; heads p = softmax(f V' + c).
    """

    def __init__(self, method: MCD, mode: Mode) -> None:
        state = {k: v.detach().numpy().copy() for k, v in method.networks.state_dict().items()}
        self.mode = mode
        self.w = state["generator.1.weight"]
        self.g, self.b = state["generator.2.weight"], state["generator.2.bias"]
        self.mean = state["generator.2.running_mean"]
        self.var = state["generator.2.running_var"]
        self.heads = [
            [state[f"{name}.weight"], state[f"{name}.bias"]] for name in ("first", "second")
        ]

    def features(self, x: np.ndarray, *, times: int = 1) -> tuple[np.ndarray, tuple[Any, ...]]:
        z = x @ self.w.T
        mean, var = z.mean(axis=0), z.var(axis=0)
        for _ in range(times):
            self.mean = 0.9 * self.mean + 0.1 * mean
            self.var = 0.9 * self.var + 0.1 * var * len(x) / (len(x) - 1)
        s = np.sqrt(var + 1e-5)
        y = (z - mean) / s
        f = np.maximum(self.g * y + self.b, 0)
        return f, (x, y, s, f > 0)

    def generator_gradient(self, df: np.ndarray, cache: tuple[Any, ...]) -> list[np.ndarray]:
        x, y, s, on = cache
        d = df * on
        dg, db = (d * y).sum(axis=0), d.sum(axis=0)
        dy = d * self.g
        dz = (dy - dy.mean(axis=0) - y * (dy * y).mean(axis=0)) / s
        return [dz.T @ x, dg, db]

    def probabilities(self, f: np.ndarray) -> list[np.ndarray]:
        out = []
        for v, c in self.heads:
            e = np.exp(f @ v.T + c)
            out.append(e / e.sum(axis=1, keepdims=True))
        return out

    def source_gradient(self, f: np.ndarray, labels: np.ndarray) -> tuple[float, list[np.ndarray]]:
        """Loss, and its derivative by the logits of both heads."""
        p, hot = self.probabilities(f), np.eye(CLASSES)[labels]
        loss = sum(-np.log((q * hot).sum(axis=1)).mean() for q in p)
        return float(loss), [(q - hot) / len(f) for q in p]

    def discrepancy_gradient(self, f: np.ndarray) -> tuple[float, list[np.ndarray]]:
        first, second = self.probabilities(f)
        sign = np.sign(first - second) / first.size
        logits = []
        for p, direction in ((first, sign), (second, -sign)):
            logits.append(p * (direction - (direction * p).sum(axis=1, keepdims=True)))
        return float(np.abs(first - second).mean()), logits

    def move_heads(self, f: np.ndarray, logits: list[np.ndarray], rate: float = RATE) -> None:
        for head, d in zip(self.heads, logits, strict=True):
            head[0] = head[0] - rate * d.T @ f
            head[1] = head[1] - rate * d.sum(axis=0)

    def into_features(self, logits: list[np.ndarray]) -> np.ndarray:
        return sum(d @ v for d, (v, _) in zip(logits, self.heads, strict=True))

    def move_generator(self, gradient: list[np.ndarray]) -> None:
        self.w = self.w - RATE * gradient[0]
        self.g = self.g - RATE * gradient[1]
        self.b = self.b - RATE * gradient[2]

    def step(self, source: np.ndarray, labels: np.ndarray, target: np.ndarray, turns: int) -> list:
        joint, both = self.mode == "joint", np.concatenate((source, target))
        n = len(source)
        # A
        f, cache = self.features(both if joint else source)
        loss_a, logits = self.source_gradient(f[:n], labels)
        df = np.zeros_like(f)
        df[:n] = self.into_features(logits)
        gradient = self.generator_gradient(df, cache)
        self.move_heads(f[:n], logits)
        self.move_generator(gradient)
        # B
        if joint:
            f, _ = self.features(both)
            fs, ft = f[:n], f[n:]
        else:
            fs, ft = self.features(source)[0], self.features(target)[0]
        loss_s, on_source = self.source_gradient(fs, labels)
        parted, on_target = self.discrepancy_gradient(ft)
        self.move_heads(fs, on_source)
        self.move_heads(ft, [-d for d in on_target])
        # C: every turn passes the target anew
        for _ in range(turns):
            f, cache = self.features(both if joint else target)
            met, logits = self.discrepancy_gradient(f[n:] if joint else f)
            df = np.zeros_like(f)
            df[n if joint else 0 :] = self.into_features(logits)
            self.move_generator(self.generator_gradient(df, cache))
        return [loss_a, loss_s - parted, parted, met]


@pytest.mark.parametrize("mode", ["separate", "joint"])
@pytest.mark.parametrize("turns", [1, 4])
def test_three_steps_equal_the_derivation_by_hand(mode: Mode, turns: int) -> None:
    """Losses, every parameter and BatchNorm's averages, after each of three steps."""
    method = tiny(mode, turns)
    by_hand = ByHand(method, mode)
    source, labels, target = batch()
    for _ in range(3):
        losses = method.step(source, labels, target, None)
        expected = by_hand.step(
            source.numpy().reshape(N, 9), labels.numpy(), target.numpy().reshape(N, 9), turns
        )
        assert [float(v) for v in losses.values()] == pytest.approx(expected, rel=1e-9)
        state = method.networks.state_dict()
        for name, value in (
            ("generator.1.weight", by_hand.w),
            ("generator.2.weight", by_hand.g),
            ("generator.2.bias", by_hand.b),
            ("generator.2.running_mean", by_hand.mean),
            ("generator.2.running_var", by_hand.var),
            ("first.weight", by_hand.heads[0][0]),
            ("first.bias", by_hand.heads[0][1]),
            ("second.weight", by_hand.heads[1][0]),
            ("second.bias", by_hand.heads[1][1]),
        ):
            np.testing.assert_allclose(state[name].numpy(), value, rtol=1e-9, atol=1e-12)


def changed(method: MCD, before: dict[str, torch.Tensor]) -> set[str]:
    """Parts whose parameters are not what they were."""
    now = dict(method.networks.named_parameters())
    return {name.split(".")[0] for name in now if not torch.equal(now[name], before[name])}


@pytest.mark.parametrize("mode", ["separate", "joint"])
def test_each_stage_changes_exactly_its_parameters(mode: Mode) -> None:
    method = tiny(mode)
    source, labels, target = batch()

    def present() -> dict[str, torch.Tensor]:
        return copy.deepcopy(dict(method.networks.named_parameters()))

    before = present()
    method.learn_source(source, labels, target)
    assert changed(method, before) == {"generator", "first", "second"}
    assert all(not torch.equal(before[n], p) for n, p in method.networks.named_parameters())
    before = present()
    features_s, features_t = method.features_once(source, target)
    assert changed(method, before) == set()
    method.part_heads(features_s, labels, features_t)
    assert changed(method, before) == {"first", "second"}
    before = present()
    method.meet(features_t)
    assert changed(method, before) == {"generator"}
    assert all(p.requires_grad for p in method.networks.parameters())


@pytest.mark.parametrize(("mode", "share"), [("separate", 0.785), ("joint", 0.5)])
def test_batchnorm_averages_hold_the_share_of_the_target_that_the_notes_say(
    mode: Mode, share: float
) -> None:
    """Source 0 and target 1 in a layer that cannot learn: the average is the target's share."""
    method = tiny(mode)
    source, labels, target = batch()
    generator = method.networks["generator"]
    for parameter in generator.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():
        generator[1].weight.fill_(1 / 9)  # the mean of the nine pixels
        generator[2].bias.fill_(0.1)
    generator[2].bias.requires_grad_(True)  # something to differentiate by
    method.optimizers["generator"].param_groups[0]["lr"] = 0.0
    for _ in range(60):
        method.step(torch.zeros_like(source), labels, torch.ones_like(target), None)
    np.testing.assert_allclose(generator[2].running_mean.numpy(), share, atol=0.002)


def test_heads_start_differently_and_single_layer() -> None:
    method = tiny("separate")
    first, second = method.networks["first"], method.networks["second"]
    assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
    assert not torch.equal(first.weight, second.weight)
    assert first.weight.shape == (CLASSES, HIDDEN)
    assert len(method.optimizers) == 3


def test_both_heads_answer_with_the_mean_of_their_logits() -> None:
    method = tiny("separate")
    method.config = AdaptationConfig(inference="both")
    both, first, second = method.answering_heads()
    features = torch.randn(4, HIDDEN, dtype=torch.float64)
    mean = (first(features) + second(features)) / 2
    assert torch.allclose(both(features), mean, atol=1e-12)


def test_discrepancy_is_zero_for_equals_and_two_over_classes_for_opposites() -> None:
    sure = torch.tensor([[50.0, 0, 0], [0, 50.0, 0]])
    assert float(discrepancy(sure, sure)) == 0
    assert float(discrepancy(sure, sure.flip(0))) == pytest.approx(2 / 3)
