"""Collect facts about artifacts.

Each known kind of artifact has its own function. For other kinds, the facts are all metadata fields except dicts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

from omnidistill.distillation.set_files import PROVENANCE
from omnidistill.distillation.version_0_1 import upgraded_set
from omnidistill.experiments.inspection.findings import Facts
from omnidistill.io.artifacts import Artifact

Describer = Callable[[Artifact], Facts]


def describe(kind: str, artifact: Artifact) -> Facts:
    """Return the facts about an artifact of this kind.

    Raises:
        LookupError: a field is missing.
        TypeError: a field is malformed.
        ValueError: a field is malformed.
    """
    return _DESCRIBERS.get(kind, _plain)(artifact)


def provenance(record: Any) -> Facts:
    """Return the recorded origin of features: encoders, name, licences, sources, bad items, notes."""
    facts = {name: record[name] for name in ("name", "licences", "sources", "bad_items", "notes") if record.get(name)}
    encoders = {name: _encoder(each) for name, each in record.get("encoders", {}).items()}
    return {**({"encoders": encoders} if encoders else {}), **facts}


def _features(artifact: Artifact) -> Facts:
    tensors, meta = artifact.tensors, artifact.meta
    counts = torch.bincount(tensors["split_codes"].long(), minlength=len(meta["splits"])).tolist()
    groups = tensors["group_codes"]
    return {
        "rows": len(groups),
        "groups": int(groups.max()) + 1 if len(groups) else 0,
        "splits": dict(zip(meta["splits"], counts, strict=True)),
        "widths": {name: tensors[f"features/{name}"].shape[1] for name in meta["modalities"]},
        "standardised": meta["preprocessing"]["standardise"],
        "centred": list(meta["preprocessing"]["centred"]),
        "pairing": "pairing" in tensors,
        **provenance(meta["provenance"]),
    }


def _heads(artifact: Artifact) -> Facts:
    meta = artifact.meta
    names = meta["modalities"]
    fields = ("origin", "source", "licences", "epoch", "seed", "config")
    return {
        "width": artifact.tensors[names[0]].shape[0],
        "inputs": {name: artifact.tensors[name].shape[1] for name in names},
        **{name: meta[name] for name in fields if name in meta},
    }


def _experts(artifact: Artifact) -> Facts:
    meta = artifact.meta
    return {
        "experts": artifact.tensors["squared_distances"].shape[0],
        "epochs": len(meta["files"]) - 1,
        "modalities": meta["modalities"],
        "seconds": meta["seconds"],
        "seed": meta["key"]["seed"],
        "starts": meta["key"]["starts"],
        "config": meta["key"]["config"],
        "identity": meta["key"]["identity"],
    }


def _distilled(artifact: Artifact) -> Facts:
    spec, record = artifact.meta, artifact.sidecars.get(PROVENANCE, {})
    if "schema" not in spec:
        spec, record = upgraded_set(artifact.meta, artifact.tensors, "manifest.json")
    config, fields = record.get("config", {}), ("validation", "iteration", "choices", "experts", "data", "heads")
    ids = record.get("initial_ids")
    return {
        "method": record.get("method", ""),
        "made by": config.get("distill", {}).get("kind", ""),
        "rows": spec["size"],
        "modalities": list(spec["modalities"]),
        "storage": spec["storage"],
        "similarity": spec["similarity"],
        "objective": spec["objective"],
        "shipped bytes": artifact.bytes,
        "recipe": spec["recipe"],
        "initial rows": f"{len(ids)} real rows" if ids else "not individual real rows",
        "seed": config.get("seed"),
        **{name: record[name] for name in fields if name in record},
        **provenance(record),
    }


def _checkpoint(artifact: Artifact) -> Facts:
    meta = artifact.meta
    return {
        "iterations": meta["iteration"],
        "restarts": meta.get("restarts", 0),
        "seconds": meta["seconds"],
        "best": meta["best"],
        "notes": meta.get("notes", []),
    }


def _shard(artifact: Artifact) -> Facts:
    meta = artifact.meta
    return {
        "rows": len(meta["ids"]),
        "modalities": meta["modalities"],
        "splits": dict(Counter(meta["splits"])),
        "bad": len(meta["bad"]),
        "cut": meta.get("cut", {}),
    }


def _result(artifact: Artifact) -> Facts:
    directions = {name: tensor for name, tensor in artifact.tensors.items() if "->" in name}
    first = next(iter(directions.values()))
    meta = artifact.meta
    fields = ("label", "size", "bytes", "seconds", "peak_bytes", "judged", "settings")
    return {
        "runs": first.shape[0],
        "directions": list(directions),
        **{name: meta[name] for name in fields if name in meta},
    }


def _encoder_weights(artifact: Artifact) -> Facts:
    meta = artifact.meta
    return {name: meta[name] for name in ("model", "modality", "licence", "source", "size")}


def _migration_kit(artifact: Artifact) -> Facts:
    meta = artifact.meta
    return {
        "rows": meta["size"],
        "widths": meta["widths"],
        "storage": meta["storage"],
        "unit vectors": meta["unit"],
        "shipped bytes": artifact.bytes,
    }


def _plain(artifact: Artifact) -> Facts:
    return {name: value for name, value in artifact.meta.items() if not isinstance(value, dict)}


def _encoder(fingerprint: Any) -> str:
    if not isinstance(fingerprint, dict):
        return str(fingerprint)
    parts = [str(fingerprint[name]) for name in ("name", "source") if fingerprint.get(name)]
    return " from ".join(dict.fromkeys(parts)) or "unnamed"


_DESCRIBERS: dict[str, Describer] = {
    "features": _features,
    "heads": _heads,
    "experts": _experts,
    "distilled": _distilled,
    "checkpoint": _checkpoint,
    "encoded shard": _shard,
    "ranking": _result,
    "result": _result,  # of version 0.1
    "encoder": _encoder_weights,
    "migration kit": _migration_kit,
}
