"""Shipped bytes: the total size of the files that a receiver needs to train. Sets and baselines are counted alike.

    set              tensor file (rows, similarity, means) + manifest.json (the specification); not provenance.json
    random rows      the same files, for real rows in float32 and the groups that they belong to
    heads            tensor file (factors, or matrices with biases; means if they are subtracted) + manifest.json
    all rows         the training features in float32, without files (`budget.training_bytes`)

A size can be computed before there are any values: it depends on shapes and settings only, because the manifest is
padded with spaces to the same length for all values of a recipe.

The initial heads are not included, because nearly all rows of a table share them: sets and random rows train students
from them, low-rank and equal-bytes heads are stored as updates to them, training on all rows starts from them, and
zero-shot uses them unchanged. Every table states their size, and names the rows that do not need them
(`Baseline.needs_start`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from omnidistill.data.preprocessing import Preprocessing
from omnidistill.distillation.set_spec import KIND, SetSpec
from omnidistill.io.artifacts import artifact_bytes
from omnidistill.models.heads import Heads
from omnidistill.models.objectives import InfoNCE
from omnidistill.models.similarities import SharedGroups
from omnidistill.models.storages import RowStorage, Storage
from omnidistill.training.recipes import Sgd


def shipped_bytes(spec: SetSpec, tensors: Mapping[str, Tensor], preprocessing: Preprocessing) -> int:
    """Return the size of the files of a set with these stored tensors, which may be on the meta device."""
    complete = spec.with_preprocessing(preprocessing)
    return artifact_bytes(KIND, {**tensors, **preprocessing.to_tensors()}, complete.to_json(), complete.padding)


def planned_bytes(spec: SetSpec, preprocessing: Preprocessing) -> int:
    """Return the size of the files of a set with this specification, before there are any rows.

    The values of the recipe do not matter.
    """
    num_rows = spec.storage.num_rows(spec.size)
    with torch.device("meta"), _WithoutMemory():
        shared = spec.similarity.shared_rows(spec.size, num_rows)
        similarity = spec.similarity.init(shared, torch.Generator("cpu"))
    tensors = {f"similarity/{name}": tensor for name, tensor in similarity.items()}
    tensors |= {f"rows/{name}": x for name, x in empty_rows(spec.storage, spec.modalities, spec.size).items()}
    return shipped_bytes(spec, tensors, preprocessing)


def real_rows_bytes(num_rows: int, widths: Mapping[str, int], preprocessing: Preprocessing) -> int:
    """Return the size of the files of random real rows: float32 rows, and the groups that determine positives."""
    recipe = Sgd(step_sizes=(1.0,) * len(widths), num_steps=1, batch_size=num_rows)
    spec = SetSpec(dict(widths), num_rows, RowStorage(), SharedGroups(), InfoNCE(), recipe)
    return planned_bytes(spec, preprocessing)


def heads_bytes(tensors: Mapping[str, Tensor], preprocessing: Preprocessing, **meta: Any) -> int:
    """Return the size of the files of heads.

    Args:
        tensors: what is stored: factors of updates, or matrices and biases; they may be on the meta device.
        preprocessing: steps that a receiver applies to features. Heads with a bias need no means.
        meta: what else a receiver needs to know to use the tensors, as JSON values.
    """
    content = {"preprocessing": preprocessing.to_meta(), **meta}
    return artifact_bytes("heads", {**tensors, **preprocessing.to_tensors()}, content)


def initial_heads_bytes(start: Heads) -> int:
    """Return the size of the files of initial heads."""
    return artifact_bytes("heads", start, {"modalities": list(start)})


def empty_rows(storage: Storage, widths: Mapping[str, int], num_rows: int) -> dict[str, Tensor]:
    """Return tensors with the shapes and types in which rows of these widths are stored. They take no memory."""
    one, two = _stored_shapes(storage, tuple(widths.items()))
    return {
        name: torch.empty(
            [first + (num_rows - 1) * (second - first) for first, second in zip(shape, two[name][0], strict=True)],
            dtype=dtype,
            device="meta",
        )
        for name, (shape, dtype) in one.items()
    }


@lru_cache(maxsize=256)
def _stored_shapes(storage: Storage, widths: tuple[tuple[str, int], ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return shape and type of every stored tensor, first of a set with one row, then of a set with two rows."""
    one, two = (
        storage.store({name: torch.zeros(rows, width, device="cpu") for name, width in widths}) for rows in (1, 2)
    )
    return tuple({name: (tuple(x.shape), x.dtype) for name, x in stored.items()} for stored in (one, two))  # type: ignore[return-value]


class _WithoutMemory(TorchFunctionMode):
    """Creates tensors on the meta device, where they take no memory, instead of on the requested device."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        return func(*args, **({**kwargs, "device": "meta"} if "device" in kwargs else kwargs))
