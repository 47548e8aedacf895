"""A feature set on disk: one artifact of kind `features`, memory-mapped when read.

Tensors: `features/MODALITY` (N x p_m), `mean/MODALITY` (p_m), `pairing` (N x N, if any), and the strings as codes and
UTF-8 JSON: `ids`, `groups` (names by first appearance), `group_codes` (N), `split_codes` (N, into meta's `splits`).
Meta: modalities, splits, preprocessing, provenance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from omnidistill.artifacts import load_artifact, save_artifact
from omnidistill.errors import InputError
from omnidistill.features.featureset import FeatureSet
from omnidistill.features.preprocessing import Preprocessing

KIND = "features"


def save_features(features: FeatureSet, folder: Path, provenance: Mapping[str, Any] | None = None) -> None:
    """Write the set to `folder`, with additions to its provenance; raises InputError if it cannot be written."""
    tensors = {f"features/{name}": x for name, x in features.features.items()}
    tensors |= features.preprocessing.to_tensors()
    splits = list(features.split_sizes)
    tensors |= {
        "ids": _text(features.ids),
        "groups": _text(tuple(dict.fromkeys(features.groups))),
        "group_codes": features.group_codes,
        "split_codes": torch.tensor([splits.index(split) for split in features.splits], dtype=torch.uint8),
    }
    if features.pairing is not None:
        tensors["pairing"] = features.pairing
    meta = {
        "modalities": list(features.modalities),
        "splits": splits,
        "preprocessing": features.preprocessing.to_meta(),
        "provenance": {**features.provenance, **(provenance or {})},
    }
    save_artifact(folder, KIND, tensors, meta)


def load_features(folder: Path) -> FeatureSet:
    """The set in `folder`, its rows mapped from the file: read them, never write to them.

    Raises InputError if the artifact is missing, damaged, of another kind, or not a valid set.
    """
    artifact = load_artifact(folder, KIND)
    tensors, meta = artifact.tensors, artifact.meta
    try:
        names, splits = _strings(tensors["groups"]), meta["splits"]
        return FeatureSet(
            features={name: tensors[f"features/{name}"] for name in meta["modalities"]},
            ids=_strings(tensors["ids"]),
            groups=tuple(names[code] for code in tensors["group_codes"].tolist()),
            splits=tuple(splits[code] for code in tensors["split_codes"].tolist()),
            pairing=tensors.get("pairing"),
            preprocessing=Preprocessing.from_parts(tensors, meta["preprocessing"]),
            provenance=dict(meta["provenance"]),
        )
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(
            f"{folder}: not a usable feature set ({type(error).__name__}: {error}); pack it again"
        ) from error


def _text(strings: Sequence[str]) -> UInt8[Tensor, " bytes"]:
    return torch.frombuffer(bytearray(json.dumps(list(strings), ensure_ascii=False).encode()), dtype=torch.uint8)


def _strings(text: Tensor) -> tuple[str, ...]:
    strings = json.loads(text.numpy().tobytes().decode())
    if not isinstance(strings, list) or not all(isinstance(string, str) for string in strings):
        raise ValueError("expected a list of strings")
    return tuple(strings)
