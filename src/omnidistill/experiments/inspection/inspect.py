"""Describe the content of a path: an artifact, a folder of several artifacts, or a file.

Folders are recognised by a file that is specific to their kind, and files by their suffix. Nothing is executed or
unpickled, and data is read completely only to verify its checksums.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.data.datasets import load
from omnidistill.data.store import load_features, save_features
from omnidistill.distillation.distilled_set import DistilledSet
from omnidistill.distillation.set_files import PROVENANCE
from omnidistill.encoding.extraction.encode import ENCODED, ENCODERS
from omnidistill.encoding.extraction.shards import load_shard
from omnidistill.evaluation.run_scores import RunScores
from omnidistill.evaluation.theory.theory_content import TheoryContent
from omnidistill.experiments.inspection.artifact_facts import describe, provenance
from omnidistill.experiments.inspection.file_facts import DATASET, FILES, dataset
from omnidistill.experiments.inspection.findings import Facts, Finding, TensorFacts
from omnidistill.experiments.migration.kit import Kit
from omnidistill.experiments.run import open_run
from omnidistill.experiments.run_page import SCORES
from omnidistill.io.artifacts import load_artifact, read_tensors
from omnidistill.io.input_files import read_json, reading
from omnidistill.models.heads import load_heads
from omnidistill.report.render_content import RenderContent
from omnidistill.training.experts import load_experts

COMPARISON = "comparison.lock.json"
"""File that identifies the folder of a comparison."""


THEORY = "theory.json"
"""File that identifies the output folder of `diagnose`."""

RENDER = "render.json"
"""File that identifies the output folder of `render`."""


def inspect(path: Path, verify: bool = False) -> Finding:
    """Describe a file or folder.

    Args:
        path: the file or folder.
        verify: whether to read all data, compare it with the checksums, and load it as the commands do.

    Raises:
        InputError: the path does not exist, is damaged, or was not written by omnidistill.
    """
    if path.is_dir():
        for known, look in _FOLDERS.items():
            if (path / known).exists():
                return look(path, verify)
        inner = sorted(each.name for each in path.iterdir() if each.is_dir() and _known(each))
        if inner:
            return Finding(path, "folder", {"holds": inner}, _bytes_of(path), verify, parts=_parts(path, inner, verify))
        raise InputError(
            f"{path}: contains nothing written by omnidistill; pass the folder of a set, heads, experts, a run, a "
            f"comparison or an export, or a file with one of the suffixes {', '.join(_FILES)}"
        )
    if str(path) == "emoji" and not path.exists():
        return _bundled(verify)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    if path.name in _FOLDERS:
        return inspect(path.parent, verify)
    if path.name not in _RECORDS and (look_into := _FILES.get(path.suffix.lower())) is not None:
        return look_into(path)
    if _known(path.parent):
        raise InputError(f"{path}: this file is part of {path.parent}; inspect that folder instead")
    raise InputError(
        f"{path}: not written by omnidistill; pass a folder, or a file with one of the suffixes {', '.join(_FILES)}"
    )


def _bundled(verify: bool) -> Finding:
    """Describe the bundled dataset in the same way as a packed dataset in a folder."""
    with TemporaryDirectory(prefix="omnidistill-") as place:
        save_features(load("emoji"), Path(place) / "emoji")
        return replace(_artifact(Path(place) / "emoji", verify), path=Path("emoji"))


def _artifact(path: Path, verify: bool) -> Finding:
    kind = read_json(path / "manifest.json").get("kind")
    if not isinstance(kind, str):
        raise InputError(
            f"{path / 'manifest.json'}: field 'kind' is {kind!r}, expected a string; pass a folder that omnidistill "
            "wrote, or restore the file if it was altered"
        )
    artifact = load_artifact(path, kind, verify, (PROVENANCE,))
    with reading(str(path / "manifest.json"), "create the artifact again"):
        if kind == "experts":
            load_experts(path, verify)  # checks the snapshots too
        elif verify and kind in _LOADERS:
            _LOADERS[kind](path)
        facts = describe(kind, artifact)
    return Finding(path, kind, facts, _bytes_of(path), verify, TensorFacts.of(artifact.tensors))


def _run(path: Path, verify: bool) -> Finding:
    run = open_run(path)
    if verify:
        run.check_records()
        if (path / SCORES).exists():
            RunScores.from_file(path / SCORES)
    state = read_json(path / "run.json")
    facts: Facts = {
        "method": run.config.method,
        "data": run.location,
        "modalities": list(run.modalities),
        "finished": run.finished,
        "evaluated": (path / SCORES).exists(),
        "seconds": run.seconds(),
        "seed": run.config.seed,
        "command": state.get("command"),
        "versions": state.get("versions"),
        "config": run.config.model_dump(mode="json"),
    }
    inner = [
        "heads",
        "experts",
        "checkpoint",
        "distilled",
        "theory",
        *sorted(f"pairs/{p.name}" for p in path.glob("pairs/*")),
    ]
    return Finding(path, "run", facts, _bytes_of(path), verify, parts=_parts(path, inner, verify))


def _comparison(path: Path, verify: bool) -> Finding:
    tables = {}
    for table in sorted(path.glob("*.json")):
        content = read_json(table)
        if "layout" in content:
            lines = content.get("lines", [])
            tables[table.name] = f"{content['layout']}, {len(lines)} rows"
    cells = sorted(path.glob("cells/*"))
    finished = [cell for cell in cells if (cell / "ranking" / "manifest.json").exists()]
    facts: Facts = {
        "tables": tables,
        "cells": {"finished": len(finished), "unfinished": len(cells) - len(finished)},
        "baselines": len(list(path.glob("baselines/*/ranking/manifest.json"))),
        "methods": sorted({cell.name.rsplit("-n", 1)[0] for cell in cells}),
        "buffers": len(list(path.glob("experts/*/manifest.json"))),
    }
    inner = ["heads"]
    if verify:
        inner += [str(manifest.parent.relative_to(path)) for manifest in sorted(path.glob("*/**/manifest.json"))]
    return Finding(path, "comparison", facts, _bytes_of(path), verify, parts=_parts(path, inner, verify))


def _theory(path: Path, verify: bool) -> Finding:
    """Describe the output of `diagnose`."""
    content = TheoryContent.from_file(path / THEORY)
    facts: Facts = {
        "run": content.run,
        "method": content.method,
        "data": content.data,
        "modalities": list(content.modalities),
        "steps": len(content.steps),
        "real rows": content.real_rows,
        "command": content.command,
        "versions": dict(content.versions),
    }
    return Finding(path, "theory", facts, _bytes_of(path), verify)


def _rendering(path: Path, verify: bool) -> Finding:
    """Describe the output of `render`."""
    content = RenderContent.from_file(path / RENDER)
    facts: Facts = {
        "run": content.run,
        "data": content.data,
        "rows": f"{len(content.rows)} of {content.size}",
        "encoders": dict(content.encoders),
        "media": dict(content.kinds),
        "seconds": sum(content.seconds.values()),
        "notes": list(content.notes),
        "command": content.command,
        "versions": dict(content.versions),
    }
    return Finding(path, "rendering", facts, _bytes_of(path), verify, parts=_parts(path, ["features"], verify))


def _encoding(path: Path, verify: bool) -> Finding:
    """Describe an output folder of `encode` that does not contain a FeatureSet.

    Either the encoding is unfinished, or its shards were not joined into a FeatureSet.
    """
    shards = sorted(path.glob("shards/*/manifest.json"))
    rows = 0
    for shard in shards:
        rows += len(load_artifact(shard.parent, "encoded shard", verify).meta["ids"])
    settings = read_json(path / ENCODERS)
    fields = {name: settings[name] for name in ("dtype", "batch_size", "shard_rows", "keep_views") if name in settings}
    facts: Facts = {
        "finished": (path / ENCODED).exists(),
        "shards": len(shards),
        "rows": rows,
        **fields,
        **provenance(settings),
    }
    return Finding(path, "encoding", facts, _bytes_of(path), verify)


def _expert_folder(path: Path, verify: bool) -> Finding:
    """Describe the output of the `experts` command: heads and expert trajectories, which may be incomplete."""
    facts: Facts = {"finished": (path / "buffer" / "manifest.json").exists()}
    if (path / "buffer" / "progress.json").exists():
        facts["epochs done"] = max(0, len(read_json(path / "buffer" / "progress.json").get("files", [])) - 1)
    return Finding(
        path, "experts and heads", facts, _bytes_of(path), verify, parts=_parts(path, ["heads", "buffer"], verify)
    )


def _unfinished_buffer(path: Path, verify: bool) -> Finding:
    done = len(read_json(path / "progress.json").get("files", [])) - 1
    return Finding(path, "experts, unfinished", {"epochs done": done}, _bytes_of(path), verify)


def _bare(path: Path) -> Finding:
    tensors = read_tensors(path)
    matrices = {x.shape[0] for x in tensors.values() if x.ndim == 2}
    heads = len(matrices) == 1 and len(tensors) > 1 and all(x.ndim == 2 for x in tensors.values())
    facts: Facts = {"tensors": len(tensors)}
    if heads:
        facts["may be"] = (
            f"heads of width {matrices.pop()}; usable as {argument('heads')} if the tensors are named after modalities"
        )
    return Finding(path, "tensors", facts, path.stat().st_size, None, TensorFacts.of(tensors))


def _parts(path: Path, names: list[str], verify: bool) -> dict[str, Finding]:
    folders = dict.fromkeys(name for name in names if (path / name).is_dir())
    return {name: inspect(path / name, verify) for name in folders if _known(path / name)}


def _known(path: Path) -> bool:
    return any((path / known).exists() for known in _FOLDERS)


def _bytes_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())


def _load_heads(path: Path) -> None:
    tensors = load_artifact(path, "heads", verify=False).tensors
    load_heads(path, {name: matrix.shape[-1] for name, matrix in tensors.items()})


_LOADERS: dict[str, Callable[[Path], object]] = {
    "features": load_features,
    "heads": _load_heads,
    "distilled": DistilledSet.load,
    "encoded shard": load_shard,
    "migration kit": Kit.load,
}
"""Functions that load an artifact as the commands do, by its kind."""

_FOLDERS: dict[str, Callable[[Path, bool], Finding]] = {
    "manifest.json": _artifact,
    "run.json": _run,
    COMPARISON: _comparison,
    THEORY: _theory,
    RENDER: _rendering,
    ENCODERS: _encoding,
    "buffer": _expert_folder,
    "progress.json": _unfinished_buffer,
    DATASET: dataset,
}
_RECORDS = ("metrics.jsonl", "scores.csv")  # tables in a run folder that are not manifests
_FILES: dict[str, Callable[[Path], Finding]] = {".safetensors": _bare, **FILES}
