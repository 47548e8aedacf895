"""Preprocessing steps between encoders and projection heads. A saved feature set records the steps applied to it.

standardise:  replace each row x by (x - mean(x)) / sqrt(var(x) + epsilon); mean and biased variance are taken over the
              values of the row (a LayerNorm without affine parameters)
centre:       subtract mu, the mean of the standardised training rows of the modality

Distilled sets include mu. To keep them small, mu is rounded to 8 bits per value before it is subtracted. A rounded
value is sign(c) c^2 u, where c is an integer from -127 to 127, and the step size u is one number per modality. Small
values are thus rounded more finely than large values. If the squared distance between mu and the rounded mu would
exceed 0.1 % of the variance of the rows, mu stays in float32.

Centring closes the modality gap. It is equivalent to a bias in the head W: W (x - mu) = W x + b with b = -W mu.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float32, Float64, Shaped
from torch import Tensor

from omnidistill.core.errors import InputError

EPSILON = 1e-5
"""Number that is added to a row's variance, as in the LayerNorm of the published heads."""

_MEAN = "mean/"
_LARGEST_CODE = 127
_STEP_BITS = 8  # significant bits of a step, so that sign(c) c^2 u is exact in float32
_MOST_MOVED = 1e-3  # largest squared distance between a mean and its rounded value, relative to the variance of rows


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """The preprocessing steps that were applied to a set.

    Attributes:
        standardise: whether rows are standardised.
        epsilon: number added to a row's variance.
        means: {modality: mean row}, subtracted from the rows; empty if the rows are not centred. `fit` rounds them, so
            that they can be stored in 8 bits.
    """

    standardise: bool
    epsilon: float
    means: dict[str, Float32[Tensor, " _"]]

    @classmethod
    def fit(cls, raw_train: Mapping[str, Float[Tensor, "_ _"]], standardise: bool, centre: bool) -> Preprocessing:
        """Fit the steps to training rows {modality: rows x width}."""
        return cls.fit_chunks({name: (x,) for name, x in raw_train.items()}, standardise, centre)

    @classmethod
    def fit_chunks(
        cls, raw_train: Mapping[str, Iterable[Float[Tensor, "_ _"]]], standardise: bool, centre: bool
    ) -> Preprocessing:
        """Fit the steps to training rows that are given in chunks, {modality: chunks of shape rows x width}.

        Means are accumulated in float64 and then rounded to 8 bits per value. If the squared distance between a mean
        and its rounded value would exceed 0.1 % of the variance of the rows, the mean is rounded to float32 instead.
        """
        steps = cls(standardise, EPSILON, {})
        if not centre:
            return steps
        return cls(standardise, EPSILON, {name: steps._mean_of(name, chunks) for name, chunks in raw_train.items()})

    @classmethod
    def usual(cls, widths: Mapping[str, int]) -> Preprocessing:
        """Return preprocessing with placeholder means, for computing the size of files before the real means are known.

        Like most real means, the placeholders take 8 bits per value.
        """
        largest = 1 + 2.0 ** (1 - _STEP_BITS)
        return cls(True, EPSILON, {name: torch.full((p,), largest, device="cpu") for name, p in widths.items()})

    def apply(self, raw: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Float32[Tensor, "_ _"]]:
        """Apply the steps to raw rows {modality: rows x width} of any float type, and return new float32 tensors.

        Raises:
            InputError: a modality has no mean, or its mean has a different width.
        """
        return {name: self._apply(name, x) for name, x in raw.items()}

    def same_options(self, other: Preprocessing) -> bool:
        """Return whether the steps differ from those of `other` at most in the values of the means."""
        options = self.standardise, self.epsilon, self.means.keys()
        return options == (other.standardise, other.epsilon, other.means.keys())

    def difference(self, other: Preprocessing) -> str | None:
        """Return what differs from `other`, such as "the means of 'text'", or None if the steps are equal."""
        if (self.standardise, self.epsilon) != (other.standardise, other.epsilon):
            return "the standardisation of rows"
        if self.means.keys() != other.means.keys():
            return "whether rows are centred"
        unequal = [name for name, mean in self.means.items() if not torch.equal(mean, other.means[name])]
        return f"the means of {', '.join(map(repr, unequal))}" if unequal else None

    def only(self, modalities: Sequence[str]) -> Preprocessing:
        """Return the steps for only these modalities."""
        means = {name: mean for name, mean in self.means.items() if name in modalities}
        return Preprocessing(self.standardise, self.epsilon, means)

    def head_bias(self, heads: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Float[Tensor, " _"]]:
        """Return the biases {modality: d} that projection heads (d x width) need on features that are not centred.

        W (x - mu) = W x - W mu. The head W for centred rows therefore needs the bias -W mu if it is applied to rows
        that are standardised but not centred. If these preprocessing steps do not centre, the biases are zero.
        """
        return {
            name: -(w @ self._mean(name, w.shape[1]).to(w)) if self.means else w.new_zeros(w.shape[0])
            for name, w in heads.items()
        }

    def to_tensors(self) -> dict[str, Shaped[Tensor, " _"]]:
        """Return the tensors to store: one tensor `mean/MODALITY` for every centred modality.

        Rounded means take 8 bits per value; means that were not rounded stay in float32.
        """
        return {_MEAN + name: _as_codes(mean)[0] for name, mean in self.means.items()}

    def to_meta(self) -> dict[str, Any]:
        """Return the JSON metadata to store.

        The field "centred" contains one entry per centred modality: the step size u if the mean is stored in 8 bits
        per value, or null if it is stored in float32.
        """
        steps = {name: _as_codes(mean)[1] for name, mean in self.means.items()}
        return {"standardise": self.standardise, "epsilon": self.epsilon, "centred": steps}

    @classmethod
    def from_parts(cls, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> Preprocessing:
        """Restore the steps from the results of `to_tensors` and `to_meta`. `tensors` may contain other tensors too.

        Files of version 0.1 can be read, too: there, "centred" is a list of modalities, and their means are in float32.

        Raises:
            InputError: a part is missing or invalid.
        """
        try:
            stored = {name: tensors[_MEAN + name] for name in meta["centred"]}
            standardise, epsilon = meta["standardise"], meta["epsilon"]
            steps = meta["centred"] if isinstance(meta["centred"], Mapping) else dict.fromkeys(stored)
        except (KeyError, TypeError) as error:
            raise InputError(
                f"preprocessing: {error} is missing or malformed in the stored file; create the file again"
            ) from error
        means = {name: _decoded(mean, steps[name]) for name, mean in stored.items()}
        valid_means = all(
            mean.ndim == 1 and mean.dtype == torch.float32 and mean.isfinite().all() for mean in means.values()
        )
        if not (isinstance(standardise, bool) and isinstance(epsilon, float) and 0 < epsilon < 1 and valid_means):
            raise InputError(
                "preprocessing: 'standardise', 'epsilon' or a stored mean is invalid; create the dataset or the "
                "synthetic set again"
            )
        return cls(standardise, epsilon, means)

    def _apply(self, name: str, x: Float[Tensor, "n p"]) -> Float32[Tensor, "n p"]:
        rows = x.float()
        if self.standardise:
            variance, mean = torch.var_mean(rows, dim=1, correction=0, keepdim=True)
            rows = (rows - mean) / (variance + self.epsilon).sqrt()
        if self.means:
            return rows - self._mean(name, x.shape[1]).to(x.device)
        return rows.clone() if rows is x else rows

    def _mean_of(self, name: str, chunks: Iterable[Float[Tensor, "_ p"]]) -> Float32[Tensor, " p"]:
        rows = (self._apply(name, chunk) for chunk in chunks)
        sums = [(x.sum(0, dtype=torch.float64), x.double().square().sum(), len(x)) for x in rows]
        count = sum(rows_of_chunk for *_, rows_of_chunk in sums)
        mean = torch.stack([part for part, *_ in sums]).sum(0) / count
        variance = float(torch.stack([square for _, square, _ in sums]).sum() / count - mean.square().sum())
        rounded = _rounded(mean)
        moved = float((rounded.double() - mean).square().sum())
        return rounded if moved <= _MOST_MOVED * variance else mean.float()

    def _mean(self, name: str, width: int) -> Float32[Tensor, " p"]:
        mean = self.means.get(name)
        if mean is None or mean.shape[0] != width:
            problem = (
                "no mean is stored for this modality" if mean is None else f"the stored mean has width {mean.shape[0]}"
            )
            raise InputError(
                f"modality {name!r}: the features have width {width}, but {problem}. Stored means and their widths: "
                f"{_widths(self.means)}. Pass features of the encoders for which these means were computed"
            )
        return mean


def _rounded(mean: Float64[Tensor, " p"]) -> Float32[Tensor, " p"]:
    """Return the mean with each value x rounded to sign(x) c^2 u, where c is the integer nearest to sqrt(|x| / u).

    The step size u is one number for the complete mean, chosen such that c is at most 127.
    """
    largest = float(mean.abs().max())
    if not largest:
        return mean.float()
    fraction, exponent = math.frexp(largest / _LARGEST_CODE**2)
    step = math.ldexp(math.ceil(math.ldexp(fraction, _STEP_BITS)), exponent - _STEP_BITS)
    codes = (mean.abs() / step).sqrt().round()
    return (mean.sign() * codes.square() * step).float()


def _as_codes(mean: Float32[Tensor, " p"]) -> tuple[Shaped[Tensor, " p"], float | None]:
    """Return a mean as 8-bit integers and a step size if these reproduce it exactly; otherwise (mean, None)."""
    step = float(mean.double().abs().max()) / _LARGEST_CODE**2
    if not step:
        return mean, None
    codes = (mean.double().sign() * (mean.double().abs() / step).sqrt().round()).to(torch.int8)
    return (codes, step) if torch.equal(_decoded(codes, step), mean) else (mean, None)


def _decoded(stored: Shaped[Tensor, "*p"], step: Any) -> Shaped[Tensor, "*p"]:
    """Return the mean vector of a modality from the two values that `_as_codes` returned for it."""
    if stored.dtype != torch.int8 or not isinstance(step, float):
        return stored
    codes = stored.double()
    return (codes.sign() * codes.square() * step).float()


def _widths(means: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} ({mean.shape[0]})" for name, mean in means.items())
