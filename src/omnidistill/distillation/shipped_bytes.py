"""Shipped bytes: the total size of the files that are needed for training, by the same rules for all methods.

    set              tensor file (rows, target similarities, feature means) + manifest.json, without provenance.json
    random rows      the same files, which contain real rows in float32 and the group of each row
    heads            tensor file (matrices or low-rank factors, with feature means or biases) + manifest.json
    all rows         only the float32 values of the training features (`budget.training_bytes`)

A size depends only on shapes and settings, so it can be computed before any values exist. The manifest of a set is
padded with spaces, so the number of digits in the step sizes of the recipe does not matter.

The initial heads are not included, because nearly all methods in a table need them. Every table states their size, and
names the methods that do not need them (`Baseline.needs_start`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from omnidistill.models.storages import RowStorage
from omnidistill.training.recipes import Sgd


def shipped_bytes(spec: SetSpec, tensors: Mapping[str, Tensor], preprocessing: Preprocessing) -> int:
    """Return the size in bytes of the files of a set with these stored tensors, which may be on the meta device."""
    complete = spec.with_preprocessing(preprocessing)
    return artifact_bytes(KIND, {**tensors, **preprocessing.to_tensors()}, complete.to_json(), complete.padding)


def planned_bytes(spec: SetSpec, preprocessing: Preprocessing) -> int:
    """Return the size in bytes of the files of a set, computed from its specification before its rows exist.

    The size does not depend on the values in the recipe, such as step sizes.
    """
    num_rows = spec.storage.num_rows(spec.size)
    with torch.device("meta"), _WithoutMemory():
        shared = spec.similarity.shared_rows(spec.size, num_rows)
        similarity = spec.similarity.init(shared, torch.Generator("cpu"))
    tensors = {f"similarity/{name}": tensor for name, tensor in similarity.items()}
    tensors |= {f"rows/{name}": x for name, x in spec.storage.empty(spec.modalities, spec.size).items()}
    return shipped_bytes(spec, tensors, preprocessing)


def real_rows_bytes(num_rows: int, widths: Mapping[str, int], preprocessing: Preprocessing) -> int:
    """Return the size in bytes of the files of random real rows: the rows in float32, and the group of each row."""
    recipe = Sgd(step_sizes=(1.0,) * len(widths), num_steps=1, batch_size=num_rows)
    spec = SetSpec(dict(widths), num_rows, RowStorage(), SharedGroups(), InfoNCE(), recipe)
    return planned_bytes(spec, preprocessing)


def heads_bytes(tensors: Mapping[str, Tensor], preprocessing: Preprocessing, **meta: Any) -> int:
    """Return the size in bytes of the files that store projection heads.

    Args:
        tensors: the stored tensors, such as matrices and biases. Only their shapes and dtypes matter, so they may be on
            the meta device.
        preprocessing: preprocessing steps that users must apply to the features before the heads. If biases in
            `tensors` already account for the means, `preprocessing.means` must be empty.
        meta: further JSON values that are needed to use the tensors, such as `bits=8`.
    """
    content = {"preprocessing": preprocessing.to_meta(), **meta}
    return artifact_bytes("heads", {**tensors, **preprocessing.to_tensors()}, content)


def initial_heads_bytes(start: Heads) -> int:
    """Return the size in bytes of the files that store the initial heads."""
    return artifact_bytes("heads", start, {"modalities": list(start)})


class _WithoutMemory(TorchFunctionMode):
    """Torch mode that creates all tensors on the meta device (which needs no memory), whatever device is requested."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        return func(*args, **({**kwargs, "device": "meta"} if "device" in kwargs else kwargs))
