"""What the methods are for: a target that is shifted, with equal and with unequal class shares.

The patterns are points in the plane: three clusters, in the target turned by 40 degrees.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor, nn

from ebsdsg_ml.adaptation import AdaptationConfig
from ebsdsg_ml.adaptation.domains import rows_of_step
from ebsdsg_ml.adaptation.loop import make_method
from ebsdsg_ml.adaptation.prior import corrected

EQUAL, UNEQUAL = (150, 150, 150), (240, 40, 20)
EVEN = np.full(3, 1 / 3)


def clusters(counts: tuple[int, ...], turn: float, seed: int) -> tuple[Tensor, Tensor]:
    labels = np.repeat(np.arange(3), counts)
    angle = 2 * np.pi * labels / 3 + turn
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points += 0.35 * np.random.default_rng(seed).normal(size=points.shape)
    return torch.from_numpy(points).float().reshape(-1, 1, 1, 2), torch.from_numpy(labels)


@functools.cache
def target_accuracy(method: str, counts: tuple[int, ...], **settings: object) -> float:
    """100 steps on the source, 300 with the target."""
    torch.set_num_threads(1)
    source, labels = clusters(EQUAL, 0.0, 1)
    target, truth = clusters(counts, 0.7, 2)
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Flatten()]
    for width in (2, 32):
        layers += [nn.Linear(width, 32), nn.BatchNorm1d(32), nn.ReLU()]
    config = AdaptationConfig.from_dict(
        {
            "method": method,
            "batch_size": 64,
            "learning_rate": 2e-3,
            "batchnorm": "joint",
            "epochs": 6,
            **settings,
        }
    )
    adapted = make_method(nn.Sequential(*layers, nn.Linear(32, 3)), config, EVEN)

    def answers() -> np.ndarray:
        adapted.networks.eval()
        with torch.no_grad():
            features = adapted.networks["generator"](target)
            return adapted.answering_heads()[0](features).softmax(dim=1).double().numpy()

    for step in range(400):
        if step >= 100 and step % 50 == 0:
            adapted.begin_epoch(step // 50 - 2, answers)
        adapted.networks.train()
        rows = rows_of_step(len(source), 64, step, 0, purpose=3)
        if step < 100:
            adapted.source_step(source[rows], labels[rows])
            continue
        rows_t, pseudo = adapted.target_rows(step, len(target))
        own = None if pseudo is None else torch.from_numpy(pseudo)
        adapted.step(source[rows], labels[rows], target[rows_t], own)
    said = answers()
    prior = adapted.prior_of_answers(said)
    if prior is not None:
        said = corrected(said, EVEN, prior)
    return float((said.argmax(axis=1) == truth.numpy()).mean())


def test_at_equal_shares_every_method_beats_source_only() -> None:
    found = {m: target_accuracy(m, EQUAL) for m in ("source-only", "mcd", "mcc", "self-training")}
    assert found["source-only"] < 0.9, found
    assert found["mcd"] > found["source-only"] + 0.01, found
    assert found["mcc"] > found["source-only"] + 0.04, found
    assert found["self-training"] > found["source-only"] + 0.03, found


def test_under_label_shift_self_training_holds_up_best() -> None:
    """MCC wants equal shares; balanced pseudo-labels and the prior correction do not mind."""
    mcc, own = target_accuracy("mcc", UNEQUAL), target_accuracy("self-training", UNEQUAL)
    assert own > target_accuracy("source-only", UNEQUAL) + 0.04
    assert own > mcc + 0.04


def test_the_correction_is_worth_something() -> None:
    without = target_accuracy("self-training", UNEQUAL, prior_correction=False)
    assert target_accuracy("self-training", UNEQUAL) > without
