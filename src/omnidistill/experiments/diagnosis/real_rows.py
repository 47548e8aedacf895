"""Assign to each synthetic row the real training row with which it is compared.

    initial   the real row from which the synthetic row was initialised
    nearest   the training row with the highest cosine similarity of features, averaged over modalities
    random    different training rows, drawn at random

The error bounds of the HoPA paper hold for any assignment. They are tighter if the synthetic row and its real row are
similar, because their modes then differ less. A row has one embedding per modality; its modes are the singular values
and vectors of the matrix of these embeddings.

Shapes: N synthetic rows.
"""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError, nearest
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet

REAL_ROWS = ("initial", "nearest", "random")
"""Names of the assignments."""


def check_real_rows(name: str) -> None:
    """Raise InputError unless `name` is one of `REAL_ROWS`, the ways to choose a real row for each synthetic row."""
    if name not in REAL_ROWS:
        raise InputError(
            f"{argument('real_rows', name)}: unknown choice of real rows; choose from "
            f"{', '.join(REAL_ROWS)}{nearest(name, REAL_ROWS)}"
        )


def assigned_rows(distilled: DistilledSet, train: FeatureSet, how: str, seed: int) -> Int[Tensor, " N"]:
    """Return the number of the training row that is assigned to each synthetic row.

    Args:
        distilled: the distilled set.
        train: the training rows.
        how: the assignment: "initial", "nearest" or "random".
        seed: seed of "random".

    Raises:
        InputError: for "initial", the initial row of a synthetic row is not recorded or is not a training row; for
            "random", there are fewer training rows than synthetic rows.
    """
    num_rows = len(distilled)
    if how == "random":
        if len(train) < num_rows:
            raise InputError(
                f"{argument('real_rows', how)}: each of the {num_rows} synthetic rows needs a different training row, "
                f"but there are only {len(train)}; use {argument('real_rows', 'nearest')}"
            )
        return torch.randperm(len(train), generator=Streams(seed)["diagnose/real"], device="cpu")[:num_rows]
    if how == "nearest":
        unit = torch.nn.functional.normalize
        cosines = sum(unit(x, dim=1) @ unit(train.features[name], dim=1).T for name, x in distilled.rows().items())
        assert isinstance(cosines, Tensor)
        return cosines.argmax(1)
    places = {name: row for row, name in enumerate(train.ids)}
    initial = [places[name] for name in distilled.provenance.initial_ids if name in places]
    if len(initial) != num_rows:
        raise InputError(
            f"{argument('real_rows', how)}: only {len(initial)} of the {num_rows} synthetic rows were initialised from "
            f"a known training row; use {argument('real_rows', 'nearest')}"
        )
    return torch.tensor(initial, device="cpu")
