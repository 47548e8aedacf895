"""The objectives once more, in numpy float64 with loops, from the equations, sharing nothing with the package.

Outputs are (M, b, d) head outputs, not normalised; targets are (b, b).
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def unit(outputs: Array) -> Array:
    return outputs / np.sqrt((outputs**2).sum(-1, keepdims=True))


def wbce(
    similarity: Array, targets: Array, tau: float, threshold: float, reduction: str, epsilon: float = 0.0
) -> float:
    """Mean of l over positives plus mean of l over negatives; the public LoRS code ("mean") takes half of it.

    It also adds epsilon = 1e-6 in both logarithms and to the numbers of positives and of negatives.
    """
    positive: list[float] = []
    negative: list[float] = []
    for i in range(len(targets)):
        for j in range(len(targets)):
            t, q = targets[i, j], 1 / (1 + np.exp(-similarity[i, j] / tau))
            loss = -t * np.log(q + epsilon) - (1 - t) * np.log(1 - q + epsilon)
            (positive if t > threshold else negative).append(loss)
    total = sum(sum(group) / (len(group) + epsilon) for group in (positive, negative) if group)
    return total * {"sum": 1.0, "mean": 0.5}[reduction]


def wbce_errors(similarity: Array, targets: Array, tau: float, threshold: float, reduction: str) -> Array:
    """d wBCE / d similarity: E_ij = w_ij (q_ij - t_ij) / tau."""
    num_positive = sum(t > threshold for t in targets.flat)
    num_negative = targets.size - num_positive
    errors = np.zeros_like(similarity)
    for i, j in np.ndindex(similarity.shape):
        weight = 1 / num_positive if targets[i, j] > threshold else 1 / num_negative
        errors[i, j] = weight * (1 / (1 + np.exp(-similarity[i, j] / tau)) - targets[i, j]) / tau
    return errors * {"sum": 1.0, "mean": 0.5}[reduction]


def pairs(num_modalities: int, anchor: int | None) -> list[tuple[int, int]]:
    return [(m, n) for m, n in combinations(range(num_modalities), 2) if anchor is None or anchor in (m, n)]


def pairwise_wbce(
    outputs: Array, targets: Array, tau: float, threshold: float, reduction: str, anchor: int | None
) -> float:
    z = unit(outputs)
    return sum(wbce(z[m] @ z[n].T, targets, tau, threshold, reduction) for m, n in pairs(len(z), anchor))


def infonce(outputs: Array, targets: Array, tau: float, anchor: int | None) -> float:
    """Mean of the cross-entropies of rows and of columns; each target row (column) is scaled to sum 1."""
    z, b = unit(outputs), outputs.shape[1]
    total = 0.0
    for m, n in pairs(len(z), anchor):
        for i in range(b):
            forth = np.array([z[m, i] @ z[n, k] / tau for k in range(b)])
            back = np.array([z[m, k] @ z[n, i] / tau for k in range(b)])
            for j in range(b):
                to_row = targets[i, j] / targets[i].sum()
                to_column = targets[j, i] / targets[:, i].sum()
                total -= to_row * (forth[j] - np.log(np.exp(forth).sum())) / (2 * b)
                total -= to_column * (back[j] - np.log(np.exp(back).sum())) / (2 * b)
    return total


def svd(instance: Array) -> tuple[Array, Array, Array]:
    """u (M x M), sigma, v (rows v_k) of one instance Z (M x d), with sum(u_1) >= 0."""
    u, sigma, v = np.linalg.svd(instance, full_matrices=False)
    if u[:, 0].sum() < 0:
        u[:, 0], v[0] = -u[:, 0], -v[0]
    return u, sigma, v


def hopa(
    outputs: Array, targets: Array, tau_mod: float, tau_ins: float, lambda_ins: float, threshold: float, reduction: str
) -> float:
    """Eq. 8 and 9 from the singular value decomposition of every Z."""
    z, b = unit(outputs), outputs.shape[1]
    modality, proxies = 0.0, []
    for i in range(b):
        _, sigma, v = svd(z[:, i])
        modality -= np.log(np.exp(sigma[0] / tau_mod) / sum(np.exp(s / tau_mod) for s in sigma)) / b
        proxies.append(v[0])
    similarity = np.array([[p @ q for q in proxies] for p in proxies])
    return modality + lambda_ins * wbce(similarity, targets, tau_ins, threshold, reduction)


def hopa_gradient(
    outputs: Array, targets: Array, tau_mod: float, tau_ins: float, lambda_ins: float, threshold: float, reduction: str
) -> Array:
    """Eq. 14 and 15, the latter carried to Z by the perturbation of v_1, both to the outputs by the normalisation.

    dv_1 = sum_{k>1} v_k [ sigma_1 u_1^T dZ v_k + sigma_k u_k^T dZ v_1 ] / (sigma_1^2 - sigma_k^2)
           + (I - V V^T) dZ^T u_1 / sigma_1
    """
    z, b, num_modalities = unit(outputs), outputs.shape[1], len(outputs)
    parts = [svd(z[:, i]) for i in range(b)]
    proxies = np.array([v[0] for _, _, v in parts])
    errors = wbce_errors(proxies @ proxies.T, targets, tau_ins, threshold, reduction)
    gradient = np.zeros_like(outputs)
    for i, (u, sigma, v) in enumerate(parts):
        p = np.exp(sigma / tau_mod) / np.exp(sigma / tau_mod).sum()
        to_z = (p[0] - 1) * np.outer(u[:, 0], v[0])
        for k in range(1, num_modalities):
            to_z += p[k] * np.outer(u[:, k], v[k])
        to_z /= tau_mod * b
        to_v = lambda_ins * sum((errors[i, j] + errors[j, i]) * proxies[j] for j in range(b))
        for k in range(1, num_modalities):
            turn = sigma[0] * np.outer(u[:, 0], v[k]) + sigma[k] * np.outer(u[:, k], v[0])
            to_z += (to_v @ v[k]) * turn / (sigma[0] ** 2 - sigma[k] ** 2)
        to_z += np.outer(u[:, 0], to_v - v.T @ (v @ to_v)) / sigma[0]
        for m in range(num_modalities):
            tangent = to_z[m] - (to_z[m] @ z[m, i]) * z[m, i]
            gradient[m, i] = tangent / np.linalg.norm(outputs[m, i])
    return gradient


def expected_hit(above: int, negatives: int, positives: int, k: int) -> float:
    """The probability that a positive is among the first k items, by counting the orders of the tied items."""
    places = min(max(k - above, 0), negatives + positives)
    return 1 - math.comb(negatives, places) / math.comb(negatives + positives, places)
