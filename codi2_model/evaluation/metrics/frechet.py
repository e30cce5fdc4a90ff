"""Frechet distance of two sets of embeddings as Gaussians, as in FID and FAD.

d^2 = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))      Dowson & Landau 1982; Heusel et al. 2017 (FID)

Few samples in many dimensions give a covariance of low rank, so it can be shrunk towards a multiple of the identity with the
weight of Ledoit & Wolf 2004. The computation uses the subspace that the samples span; outside of it both covariances are
multiples of the identity, with a closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.floating]


@dataclass(frozen=True)
class Frechet:
    """value: squared distance. n: numbers of rows. shrinkage: weights in [0, 1], 0 without shrinkage."""

    value: float
    n: tuple[int, int]
    shrinkage: tuple[float, float]


def frechet(first: Rows, second: Rows, shrink: bool = True) -> Frechet:
    """Frechet distance of rows (N, D) and (M, D). Raises ValueError for fewer than two rows, or different widths."""
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"Frechet distance of {x.shape} and {y.shape}: expected (N, D) and (M, D)")
    if len(x) < 2 or len(y) < 2:
        raise ValueError(f"Frechet distance of {len(x)} and {len(y)} rows: expected at least two")
    means = x.mean(0), y.mean(0)
    centred = x - means[0], y - means[1]
    width = x.shape[1]
    weights = tuple(ledoit_wolf(rows) if shrink else 0.0 for rows in centred)
    targets = tuple(float((rows**2).sum() / len(rows) / width) for rows in centred)  # the mean variance
    projected, outside_dims = project_to_span(*centred)
    inside = [covariance(rows, w, t) for rows, w, t in zip(projected, weights, targets, strict=True)]
    outside = [w * t for w, t in zip(weights, targets, strict=True)]
    rest = outside_dims * (outside[0] + outside[1] - 2 * np.sqrt(outside[0] * outside[1]))
    value = ((means[0] - means[1]) ** 2).sum() + bures(*inside) + rest
    return Frechet(float(max(value, 0.0)), (len(x), len(y)), (weights[0], weights[1]))


def project_to_span(first: Rows, second: Rows) -> tuple[tuple[Rows, Rows], int]:
    """Both sets in coordinates of the subspace that they span together, and the number of dimensions outside of it."""
    if len(first) + len(second) > first.shape[1]:
        return (first, second), 0
    _, scale, basis = np.linalg.svd(np.concatenate([first, second]), full_matrices=False)
    basis = basis[scale > scale.max(initial=0.0) * 1e-10]
    return (first @ basis.T, second @ basis.T), first.shape[1] - len(basis)


def covariance(centred: Rows, weight: float, target: float) -> Rows:
    """Sample covariance (D, D), divided by N, shrunk with `weight` towards `target` times the identity."""
    return (1 - weight) * centred.T @ centred / len(centred) + weight * target * np.eye(centred.shape[1])


def bures(first: Rows, second: Rows) -> float:
    """tr(A + B - 2 (A^(1/2) B A^(1/2))^(1/2)) of two symmetric positive semidefinite matrices."""
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    product = np.linalg.eigvalsh(root @ second @ root)
    return float(np.trace(first) + np.trace(second) - 2 * np.sqrt(np.clip(product, 0, None)).sum())


def ledoit_wolf(centred: Rows) -> float:
    """Optimal shrinkage weight for centred rows (N, D): Ledoit & Wolf 2004, theorem 3.1 with its estimators.

    |X X'| = |X' X| in the Frobenius norm, so the smaller of the two products gives the norm of the covariance S.
    """
    n, width = centred.shape
    product = centred @ centred.T if n < width else centred.T @ centred
    norm = (product**2).sum() / n**2  # |S|^2
    lengths = (centred**2).sum(1)
    mean = lengths.sum() / n / width
    spread = norm / width - mean**2  # |S - mean I|^2, per dimension
    noise = ((lengths**2).sum() / n - norm) / n / width
    return float(np.clip(noise / spread, 0.0, 1.0)) if spread > 1e-300 else 0.0
