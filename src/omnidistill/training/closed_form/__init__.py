"""Synthetic sets and heads in closed form, without experts, rollouts or gradient steps.

A linear student depends on paired data only through means, covariances and cross-covariances. `moments` computes these
three in one pass over the data. `factors` approximates the cross-covariances by N - 1 common factors. `rows_of_factors`
converts the factors into N rows. `covariance_matching`, `analytic_parameters` and `cca` build on these modules.
"""

from omnidistill.training.closed_form.analytic_parameters import Norm, analytic_heads, apm_factors, apm_rows
from omnidistill.training.closed_form.cca import canonical_factors, ridge_cca_heads
from omnidistill.training.closed_form.covariance_matching import (
    covmatch_factors,
    covmatch_rows,
)
from omnidistill.training.closed_form.factors import Factors, factor
from omnidistill.training.closed_form.moments import Moments, Pairing, accumulate_moments, error_weighted_cross
from omnidistill.training.closed_form.rows_of_factors import Rotation, place_rows

__all__ = [
    "Factors",
    "Moments",
    "Norm",
    "Pairing",
    "Rotation",
    "accumulate_moments",
    "analytic_heads",
    "apm_factors",
    "apm_rows",
    "canonical_factors",
    "covmatch_factors",
    "covmatch_rows",
    "error_weighted_cross",
    "factor",
    "place_rows",
    "ridge_cca_heads",
]
