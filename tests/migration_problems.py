"""Planted embeddings of the same items by two encoders, and a small kit; shared by the tests of migration."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnidistill.experiments.migration import Migration, MigrationSettings, migrate

Array = NDArray[np.float32]
WIDTHS = {"old": 32, "new": 28}
FEW = MigrationSettings(iterations=4, batch_size=64, validate_every=2, cca_ridges=(0.1,))


def planted(rows: int = 500, latent: int = 14, seed: int = 0) -> tuple[Array, Array]:
    """Two nonlinear embeddings of one latent variable, with offsets and noise."""
    draw = np.random.default_rng(seed)
    z = draw.normal(size=(rows, latent))
    return tuple(  # type: ignore[return-value]
        (
            np.tanh(z @ draw.normal(size=(latent, p)) / 4) + draw.normal(size=p) + 0.35 * draw.normal(size=(rows, p))
        ).astype(np.float32)
        for p in WIDTHS.values()
    )


@cache
def small() -> Migration:
    """A kit of 12 rows with its report; do not change it."""
    return migrate(*planted(), size=12, settings=FEW, baselines="quick", device="cpu", progress=False)


def saved(folder: Path, **arrays: Any) -> dict[str, Path]:
    """Save arrays as .npy files, and return their paths."""
    paths = {name: folder / f"{name}.npy" for name in arrays}
    for name, array in arrays.items():
        np.save(paths[name], array)
    return paths
