"""Convert settings and sets from version 0.1 to the current form.

Version 0.1 stored the complete run configuration in every set. `RENAMED` lists the settings that have new names;
docs/upgrading.md lists the same names for users.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.models.quantise import unpack_codes

RENAMED = {
    "distill.target": "distill.outer.kind",
    "distill.num_expert_epochs": "distill.outer.num_expert_epochs",
    "distill.max_start_epoch": "distill.outer.max_start_epoch",
    "distill.own_share": "distill.outer.own_share",
    "distill.task_weight": "distill.outer.task_weight",
    "distill.task.rows": "distill.outer.task.rows",
    "distill.task.tau": "distill.outer.task.tau",
    "distill.task": "distill.outer.task",
}
"""Maps the names of settings in version 0.1 to their current names."""

RENAMED_VALUES = {
    ("distill.kind", "trajectory"): 'distill.kind = "learn" with distill.outer.kind = "trajectory" (the default)',
    ("distill.kind", "task"): 'distill.kind = "learn" with distill.outer.kind = "task"',
    ("distill.storage.views", 0): 'distill.storage.views = "auto"',
}
"""Maps (setting, value) in version 0.1 to a description of the replacement."""

_TRAJECTORY = ("num_expert_epochs", "max_start_epoch", "own_share", "task_weight", "task")


def upgraded_config(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run, with names from version 0.1 replaced by the current names."""
    distill = dict(tree.get("distill") or {})
    storage = dict(distill.get("storage") or {})
    if storage:
        storage["kind"] = storage.get("kind", "rows")
        if storage["kind"] == "rows":
            storage["views"] = storage.get("views", 1) or "auto"
        distill["storage"] = storage
    if distill.get("kind") == "task":
        distill |= {"kind": "learn", "outer": {"kind": "task", **dict(distill.pop("task", {}))}}
    elif distill.get("kind") == "trajectory":
        outer = {name: distill.pop(name) for name in _TRAJECTORY if name in distill}
        if "task" in outer:
            outer["task"] = {"kind": "task", **outer["task"]}
        distill |= {"kind": "learn", "outer": {"kind": distill.pop("target", "trajectory"), **outer}}
    return {**tree, "distill": distill} if distill else dict(tree)


def upgraded_set(
    meta: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the specification and the provenance of a set from version 0.1, as JSON.

    Args:
        meta: metadata of the artifact.
        tensors: tensors of the artifact.
        where: name of the file, for error messages.

    Raises:
        InputError: a required field is missing or malformed.
    """
    try:
        config, recipe = upgraded_config(meta["config"]), meta["recipe"]
        distill, names = config["distill"], list(meta["modalities"])
        widths = {name: _width(name, meta, tensors) for name in names}
        size = int(distill["size"])
        spec = {
            "schema": 1,
            "modalities": widths,
            "size": size,
            "storage": _resolved(distill.get("storage") or {"kind": "rows", "views": 1}, size),
            "similarity": _similarity(distill),
            "objective": distill["student"],
            "recipe": {"kind": "sgd", **recipe},
            "preprocessing": meta["preprocessing"],
        }
        provenance = dict(meta["provenance"])
        provenance |= {"initial_set": provenance.pop("begun", None), "initial_ids": list(meta["initial_ids"])}
        return spec, {**provenance, "method": config["method"], "config": meta["config"]}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{where}: field {error} is missing or malformed; distil again") from None


def _resolved(storage: Mapping[str, Any], size: int) -> dict[str, Any]:
    views = storage["views"]
    return {**storage, "views": min(16, max(1, round(256 / size))) if views == "auto" else views}


def _similarity(distill: Mapping[str, Any]) -> Any:
    """Return the settings of the target similarity. They are fixed for the methods `select`, `covmatch` and `apm`."""
    fixed = {"select": "groups", "covmatch": "identity", "apm": "identity"}
    return {"kind": fixed[distill["kind"]]} if distill["kind"] in fixed else distill["similarity"]


def _width(name: str, meta: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> int:
    """Return the feature width of a modality.

    Rows that are stored as floats have this width. Quantised rows are packed into bytes, so the width is taken from the
    mean of the modality. If the set contains no mean, the rows are unpacked to determine their width.
    """
    if f"rows/{name}" in tensors:
        return tensors[f"rows/{name}"].shape[1]
    if f"mean/{name}" in tensors:
        return tensors[f"mean/{name}"].shape[0]
    codes, bits = tensors[f"rows/{name}/codes"], meta["config"]["distill"]["storage"]["bits"]
    return unpack_codes(codes, bits).shape[1]
