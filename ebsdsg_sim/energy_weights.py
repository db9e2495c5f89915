"""How many electrons of every energy each pixel of a detector gets."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from ebsdsg_sim.detector import Detector
from ebsdsg_sim.exit_directions import ExitDirections
from ebsdsg_sim.lambert import interpolate, to_square
from ebsdsg_sim.montecarlo import MonteCarlo

ExitCounts = Literal["smooth", "counts"]
SolidAngle = Literal["emsoft", "physical"]

#: Relative error (root mean square) of a pattern allowed when energies are combined: less than
#: a tenth of a grey level of 256.
TOLERANCE = 3e-4


class ProjectionError(ValueError):
    """Patterns cannot be projected from what was given; the message says what is wrong."""


def electrons_per_pixel(
    monte_carlo: MonteCarlo,
    detector: Detector,
    *,
    exit_counts: ExitCounts = "smooth",
    solid_angle: SolidAngle = "emsoft",
) -> np.ndarray:
    """Electrons of every energy that reach every pixel, per incident electron.

    Parameters
    ----------
    monte_carlo : gives the exit directions.
    detector : gives the pixels.
    exit_counts : ``"counts"`` interpolates the histogram bilinearly as EMEBSD does, noise
        included; ``"smooth"`` evaluates the fit of :class:`ExitDirections` to it.
    solid_angle : ``"emsoft"`` reproduces EMEBSD's misplaced pattern-centre pixel
        (:meth:`Detector.emebsd_centre_pixel`, which itself gets the factor 0.25);
        ``"physical"`` uses the true pattern centre.

    Returns
    -------
    (n_energies, rows, columns) float64, counts per direction pixel of the Monte Carlo over its
    nominal number of electrons; 0 for pixels below the sample's surface, whose electrons would have
    left through the sample (EMEBSD gives these the electrons of the mirrored direction).

    Raises
    ------
    ProjectionError
        If an option is unknown, or the detector's sample tilt is not the Monte Carlo's.
    """
    if abs(detector.sample_tilt - monte_carlo.sample_tilt) > 1e-6:
        raise ProjectionError(
            f"the detector has a sample tilt of {detector.sample_tilt} degrees, the Monte Carlo "
            f"{monte_carlo.sample_tilt}"
        )
    directions = detector.directions()
    if exit_counts == "smooth":
        weights = ExitDirections.fit(monte_carlo).at(directions)
    elif exit_counts == "counts":
        square = to_square(torch.from_numpy(directions))
        # accum_e's first index is Lambert y, its second -x.
        points = torch.stack((-square[..., 0], square[..., 1]), dim=-1)
        counts = torch.from_numpy(monte_carlo.accum_e.astype(np.float64))
        weights = interpolate(counts, points).numpy()
    else:
        raise ProjectionError(f"exit_counts = {exit_counts!r}: must be 'smooth' or 'counts'")
    weights[:, directions[..., 2] <= 0] = 0
    if solid_angle == "emsoft":
        row, column = detector.emebsd_centre_pixel()
        factor = detector.solid_angles(directions[row, column])
        factor[row, column] = 0.25
    elif solid_angle == "physical":
        factor = detector.solid_angles()
    else:
        raise ProjectionError(f"solid_angle = {solid_angle!r}: must be 'emsoft' or 'physical'")
    return weights * factor / monte_carlo.n_electrons


def shifted_energies(weights: np.ndarray, energies: np.ndarray, shift: float) -> np.ndarray:
    """Weights of electrons whose energies are all higher by ``shift``.

    Parameters
    ----------
    weights : (n_energies, ...).
    energies : (n_energies,) ascending [keV].
    shift : [keV]; negative for lower energies.

    Returns
    -------
    (n_energies, ...) with the same sum in every pixel.

    Notes
    -----
    The electrons of a bin are divided between the two bins next to their new energy in proportion
    to its nearness, so that the mean energy moves by the shift; at the ends of the simulated range
    they stay in the last bin.

    Raises
    ------
    ProjectionError
        If the shift is not finite.
    """
    if not np.isfinite(shift):
        raise ProjectionError(f"energy_shift = {shift}: must be a finite number of keV")
    if len(energies) == 1 or shift == 0:
        return weights
    new = np.clip(energies + shift, energies[0], energies[-1])
    right = np.clip(np.searchsorted(energies, new, side="right"), 1, len(energies) - 1)
    part = (new - energies[right - 1]) / (energies[right] - energies[right - 1])
    matrix = np.zeros((len(energies), len(energies)))
    np.add.at(matrix, (right - 1, np.arange(len(energies))), 1 - part)
    np.add.at(matrix, (right, np.arange(len(energies))), part)
    return np.tensordot(matrix, weights, axes=1)


def combinations(
    weights: np.ndarray, products: np.ndarray, most: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Fewest combinations of energies that make up the patterns of all pixels.

    Parameters
    ----------
    weights : (n_energies, pixels) how much of every energy's map a pixel takes.
    products : (n_energies, n_energies) mean (or summed) products of the maps
    most : largest number of combinations; as many as :data:`TOLERANCE` asks for by default.

    Returns
    -------
    per_energy : (k, n_energies); row i says how to add the energies' maps.
    per_pixel : (k, pixels); how much of map i a pixel takes.

    Notes
    -----
    ``per_energy.T @ per_pixel`` is the approximation of the weights by k terms for which the
    patterns, averaged over all orientations, have the least square error: a singular-value
    decomposition in the metric of ``products``.  Maps of neighbouring energies resemble each other,
    so this needs fewer terms than the best approximation of the weights themselves: 3 of 11 for
    smooth weights, all for raw counts; and 1 alone loses 1 % (smooth) to 3 % (raw).
    """
    values, vectors = np.linalg.eigh(products)
    known = values > 1e-12 * values[-1]
    root = np.sqrt(values[known, None]) * vectors[:, known].T
    inverse = vectors[:, known] / np.sqrt(values[known])
    transformed = root @ weights
    squares, basis = np.linalg.eigh(transformed @ transformed.T)
    error = np.sqrt(np.cumsum(np.clip(squares, 0, None)) / squares.sum())
    keep = np.flatnonzero(error > TOLERANCE)
    keep = keep[-most:] if most else keep
    per_energy = (inverse @ basis[:, keep]).T
    # Signs are free: intensities and weights are positive, so should the main terms be.
    per_energy *= np.where((per_energy @ weights.mean(axis=1)) < 0, -1, 1)[:, None]
    return per_energy, (per_energy @ products) @ weights
