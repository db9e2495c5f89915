"""How much each depth contributes to a master pattern, from a Monte Carlo depth histogram.

The dynamical calculation integrates over depth with these weights.  Normal absorption is already
in the dynamical matrix, so it is divided out of the Monte Carlo counts here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ebsdsg_sim.montecarlo import MonteCarlo, MonteCarloError

#: Fraction of the electrons that must lie above the integration depth.
FRACTION = 0.99


@dataclass(frozen=True)
class DepthWeights:
    """Weights and limits of the depth integral of every energy.

    Parameters
    ----------
    weights : (n_energies, n_terms) weight of depth term k = 1..n_terms (column k - 1), electrons
        per incident electron with normal absorption taken out.
    thickness : (n_energies,) integration depth, by which the integral is divided [nm].
    n_terms : number of depth terms, the largest over the energies (EMsoft's izzmax).
    depth_step : distance between two terms [nm].
    """

    weights: np.ndarray
    thickness: np.ndarray
    n_terms: int
    depth_step: float


def integration_terms(
    monte_carlo: MonteCarlo, thickness: Literal["emsoft", "energy"] = "emsoft"
) -> np.ndarray:
    """Number of depth bins that hold 99 % of the electrons, per energy.

    Parameters
    ----------
    monte_carlo : the histograms.
    thickness : ``"emsoft"``: the deepest over the pixels of the coarse direction grid, and the
        running maximum from the lowest energy upwards, so the noisiest pixel decides;
        ``"energy"``: all directions of one energy together, every energy for itself.

    Returns
    -------
    (n_energies,) int64, at least 1.

    Raises
    ------
    MonteCarloError
        If no electron of any energy is in the depth histogram, or ``thickness`` is unknown.
    """
    counts = monte_carlo.accum_z
    if not counts.any():
        raise MonteCarloError("the depth histogram is empty: every electron came from deeper")
    if thickness == "energy":
        pixels = monte_carlo.depth_histogram[:, None, :]
    elif thickness == "emsoft":
        pixels = counts.reshape(*counts.shape[:2], -1).transpose(0, 2, 1)
    else:
        raise MonteCarloError(f"thickness = {thickness!r}: must be 'emsoft' or 'energy'")
    below = np.cumsum(pixels, axis=2, dtype=np.int64)
    short = below < FRACTION * below[:, :, -1:]
    terms = short.sum(axis=2).max(axis=1) + 1
    return np.maximum.accumulate(terms) if thickness == "emsoft" else terms


def depth_weights(
    monte_carlo: MonteCarlo,
    absorption_lengths: ArrayLike,
    *,
    thickness: Literal["emsoft", "energy"] = "emsoft",
) -> DepthWeights:
    """Weights of the depth integral.

    Parameters
    ----------
    monte_carlo : the histograms.
    absorption_lengths : (n_energies,) normal absorption length xi'_0 = 1/(|U'_0| lambda) of every
        energy [nm].  EMsoft forms all of them with the wavelength at the beam energy.
    thickness : see :func:`integration_terms`.

    Returns
    -------
    DepthWeights

    Raises
    ------
    MonteCarloError
        If an absorption length is not positive or there is not one per energy.

    Notes
    -----
    ``weights[E, k - 1] = counts(E, depth (k - 1) depth_step) / n_electrons
    exp(+2 pi (k - 1) depth_step / xi'_0(E))``, with the nominal number of electrons: EMsoft's
    ``lambdaE``.  Under ``thickness="energy"`` the terms deeper than an energy's own limit are zero.
    """
    lengths = np.asarray(absorption_lengths, dtype=np.float64)
    if lengths.shape != monte_carlo.energies.shape:
        raise MonteCarloError(
            f"{lengths.size} absorption lengths for {len(monte_carlo.energies)} energies"
        )
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise MonteCarloError(f"absorption lengths must be positive, got {lengths} nm")
    terms = integration_terms(monte_carlo, thickness)
    n_terms = int(terms.max())
    step = monte_carlo.depth_step
    depth = np.arange(n_terms) * step
    weights = monte_carlo.depth_histogram[:, :n_terms] / monte_carlo.n_electrons
    weights = weights * np.exp(2 * np.pi * depth / lengths[:, None])
    if thickness == "energy":
        weights[np.arange(n_terms) >= terms[:, None]] = 0
    return DepthWeights(weights, terms * step, n_terms, step)
