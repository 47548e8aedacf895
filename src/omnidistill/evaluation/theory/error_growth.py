"""Bounds on the distance between two students (HoPA, arXiv 2604.10666, Lemma 1 and Theorem 1; eq. 4, 12, 13).

Two students take SGD steps from the same heads, one on real and one on synthetic batches. With the heads theta, the
gradient g of the loss, and the diagonal matrix B of the step sizes, the steps are

    theta^real <- theta^real - B g^real(theta^real),   theta^syn <- theta^syn - B g^syn(theta^syn)

Lemma 1 uses four quantities:

    e_t        ||theta^real - theta^syn||, the distance between the students after t steps; e_0 = 0
    Delta_t    ||g^real - g^syn||, the distance between the gradients at theta^syn after t steps
    L          a Lipschitz constant of g^real
    eta        the step size; if step sizes differ between modalities, the largest of them

Subtract the two updates, and add and subtract B g^real(theta^syn). This gives

    e_{t+1} <= (1 + eta L) e_t + eta Delta_t
    e_T <= eta sum_{t < T} (1 + eta L)^{T-1-t} Delta_t                                       Lemma 1, eq. 4

Theorem 1 replaces Delta_t by its bound in eq. 10 (see `discrepancy`). Mode k of an instance is the k-th pair of
singular vectors of its embeddings. At step t, omega_k,t is the size of the gradient in mode k, and eps_k,t is the
distance between the k-th modes of a real and a synthetic instance. The products omega_k,t eps_k,t are averaged over the
instances. C_J is a bound on the Jacobian of the embeddings with respect to the heads. Then

    e_T <= eta C_J sum_{t < T} (1 + eta L)^{T-1-t} sum_k omega_k,t eps_k,t                   Theorem 1, eq. 12

The paper uses the largest L of all steps. eta and L may also depend on the step (own derivation), which gives a tighter
bound.
"""

from __future__ import annotations

from collections.abc import Sequence


def error_bounds(
    step_sizes: Sequence[float], lipschitz: Sequence[float], discrepancies: Sequence[float]
) -> list[float]:
    """Return upper bounds on the distances e_0, ..., e_T between two students after 0 to T steps.

    A bound that exceeds the range of float64 is infinite.

    Args:
        step_sizes: step size eta of each step.
        lipschitz: Lipschitz constant L of each step.
        discrepancies: distance Delta_t between the real and synthetic gradients in each step, or an upper bound on it.
    """
    bounds = [0.0]
    for eta, constant, delta in zip(step_sizes, lipschitz, discrepancies, strict=True):
        bounds.append((1 + eta * constant) * bounds[-1] + eta * delta)
    return bounds
