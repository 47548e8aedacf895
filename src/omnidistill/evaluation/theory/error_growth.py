"""Bounds on the distance between two students (HoPA, arXiv 2604.10666, Lemma 1 and Theorem 1; eq. 4, 12, 13).

Two students take SGD steps from the same heads, one on real and one on synthetic batches:

    theta^real <- theta^real - B g^real(theta^real),   theta^syn <- theta^syn - B g^syn(theta^syn)

Here theta are the heads, g is the gradient of the loss, and B is the diagonal matrix of the step sizes. Let
e_t = ||theta_t^real - theta_t^syn|| be the distance between the students after t steps, Delta_t = ||g^real - g^syn||
the distance between the gradients at theta_t^syn, L a Lipschitz constant of g^real, and eta the step size. Subtract the
two updates, and add and subtract B g^real(theta^syn). This gives

    e_{t+1} <= (1 + eta L) e_t + eta Delta_t,   e_0 = 0
    e_T <= eta sum_{t < T} (1 + eta L)^{T-1-t} Delta_t                                       Lemma 1, eq. 4

Theorem 1 replaces Delta_t by its bound in eq. 10 (see `discrepancy`):

    e_T <= eta C_J sum_{t < T} (1 + eta L)^{T-1-t} sum_k omega_k,t eps_k,t                   Theorem 1, eq. 12

C_J bounds the Jacobian of the embeddings with respect to the heads. omega_k,t is the size of the gradient in mode k at
step t, where mode k of an instance is its k-th pair of singular vectors. eps_k,t is the distance between the k-th modes
of a real and a synthetic instance. The products omega_k,t eps_k,t are averaged over the instances.

If step sizes differ between modalities, eta is the largest of them, because ||B g|| <= eta ||g||. eta and L may also
depend on the step (own derivation). The paper uses one L for all steps, the largest. An L for each step gives a tighter
bound.

Shapes: T steps.
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
        discrepancies: discrepancy Delta_t between the gradients of the students in each step, or an upper bound on it.
    """
    bounds = [0.0]
    for eta, constant, delta in zip(step_sizes, lipschitz, discrepancies, strict=True):
        bounds.append((1 + eta * constant) * bounds[-1] + eta * delta)
    return bounds
