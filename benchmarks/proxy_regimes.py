"""Planted regimes for the study of HoPA's proxy: how the `heads` split differs from the other splits, noise, and M.

As in `omnidistill.data.planted`, M modalities share a latent z, and x_m = offset + tanh(z A_m) + noise_m * e_m with
coloured noise e_m. Initial heads are trained with InfoNCE on the `heads` split. A regime changes this split
or the rows:

    turned      in `heads`, A_m is R_m A_m: R_m turns this many latent coordinates at random, per modality
    white       in `heads`, this share of the noise power is white: the heads know the strong directions less well
    noise       root mean square of the noise per modality; the last value holds for all further modalities
    corrupted   share of the training rows whose last modality belongs to another training row
    bundled     the emoji data of the package instead of planted data; only the initial heads differ between draws
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from omnidistill.data.emoji import load_emoji
from omnidistill.data.featureset import Development, FeatureSet, prepare
from omnidistill.data.raw import RawFeatures
from omnidistill.evaluation.validation import validation_score
from omnidistill.models.heads import Heads
from omnidistill.training.experts.pretrain import HeadsConfig, pretrain_heads

WIDTH, LATENT = 160, 48
ROWS = {"train": 1500, "validation": 300, "test": 600}
HELD_OUT = 300
HEADS = HeadsConfig(width=64)


@dataclass(frozen=True)
class Regime:
    """Planted data; the module docstring describes the attributes."""

    title: str
    modalities: int = 3
    heads_rows: int = 6000
    noise: tuple[float, ...] = (1.6,)
    turned: int = 0
    white: float = 0.0
    corrupted: float = 0.0
    bundled: bool = False


REGIMES = {
    "weak": Regime("weak heads", heads_rows=400),
    "same": Regime("strong heads, no shift"),
    "turned": Regime("strong heads, latent map turned", turned=3),
    "noise": Regime("strong heads, noise changed", white=0.3),
    "paper": Regime("noise per modality, latent map turned", noise=(1.6, 2.2, 3.2), turned=4),
    "uneven": Regime("weak heads, noise per modality", heads_rows=400, noise=(0.8, 1.6, 3.2)),
    "corrupted": Regime("weak heads, one corrupted modality", heads_rows=400, corrupted=0.5),
    **{f"weak-{m}": Regime(f"weak heads, M = {m}", m, heads_rows=400) for m in (2, 4, 6)},
    **{f"turned-{m}": Regime(f"latent map turned, M = {m}", m, turned=3) for m in (2, 4, 5, 6)},
    "emoji": Regime("bundled emoji", bundled=True),
}
READ_IN = ("paper", "weak")
"""The regimes of the readings and of the distilled sets."""


@dataclass(frozen=True, eq=False)
class Planted:
    """The data of a regime and the initial heads."""

    data: FeatureSet
    development: Development
    start: Heads
    bundled: bool = False


def planted(regime: Regime, seed: int) -> Planted:
    """Draw the data of a regime, and train initial heads on its `heads` split, scored on rows of their own kind."""
    if regime.bundled:
        return bundled(seed)
    sizes = {"heads": regime.heads_rows + HELD_OUT, **ROWS}
    draw = torch.Generator().manual_seed(seed)
    z = torch.randn(sum(sizes.values()), LATENT, generator=draw)
    features = {f"m{m}": _modality(regime, m, z, draw) for m in range(regime.modalities)}
    if regime.corrupted:
        permuted = torch.randperm(sizes["train"], generator=draw)
        wrong = sizes["heads"] + permuted[: int(regime.corrupted * sizes["train"])]
        last = features[f"m{regime.modalities - 1}"]
        last[wrong] = last[wrong.roll(1)]
    splits = tuple(split for split, rows in sizes.items() for _ in range(rows))
    ids = tuple(str(row) for row in range(len(z)))
    data = prepare(RawFeatures(features, ids, ids, splits, {"name": regime.title, "seed": seed}))
    return Planted(data, data.development(), initial_heads(data, seed))


def bundled(seed: int) -> Planted:
    """Return the emoji data, with initial heads as in a run of the package."""
    data = prepare(load_emoji())
    development = data.development()
    validation = development.validation
    heads, _ = pretrain_heads(development, HeadsConfig(), lambda heads: validation_score(heads, validation), seed=seed)
    return Planted(data, development, heads, bundled=True)


def initial_heads(data: FeatureSet, seed: int) -> Heads:
    """Return heads trained on the `heads` split; the epoch is chosen on rows of this split that are held out."""
    rows, whole = data.split("heads"), data.development()
    kept = range(len(rows) - HELD_OUT)
    held_out = rows.select(range(len(kept), len(rows)))
    development = Development(rows.select(kept), whole.train, whole.validation)
    heads, _ = pretrain_heads(development, HEADS, lambda heads: validation_score(heads, held_out), seed=seed)
    return heads


def _modality(regime: Regime, m: int, z: Tensor, draw: torch.Generator) -> Tensor:
    of_heads = slice(0, regime.heads_rows + HELD_OUT)
    mixing = torch.randn(LATENT, WIDTH, generator=draw) / LATENT**0.5
    offset = torch.randn(WIDTH, generator=draw)
    turn = torch.eye(LATENT)
    turn[: regime.turned, : regime.turned] = _orthonormal(regime.turned, draw)
    latent = z.clone()
    latent[of_heads] = z[of_heads] @ turn
    sigma = torch.arange(1, WIDTH + 1).rsqrt()
    white = torch.randn(len(z), WIDTH, generator=draw)
    error = (white * (sigma / sigma.square().mean().sqrt())) @ _orthonormal(WIDTH, draw)
    if regime.white:
        other = torch.randn(len(error[of_heads]), WIDTH, generator=draw)
        error[of_heads] = (1 - regime.white) ** 0.5 * error[of_heads] + regime.white**0.5 * other
    noise = regime.noise[min(m, len(regime.noise) - 1)]
    result: Tensor = offset + torch.tanh(latent @ mixing) + noise * error
    return result


def _orthonormal(size: int, draw: torch.Generator) -> Tensor:
    basis: Tensor = torch.linalg.qr(torch.randn(size, size, generator=draw)).Q
    return basis
