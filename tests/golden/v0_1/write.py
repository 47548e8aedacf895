"""Write the golden artifacts of omnidistill 0.1 and their numbers into the folder of this script.

This script runs only with the code of version 0.1 (commit a7931e1). Later code reads what it wrote and must not run it:
the purpose of the artifacts is that older code wrote them. From the root of a checkout of version 0.1:

    OMP_NUM_THREADS=1 PYTHONPATH=src python tests/golden/v0_1/write.py

Every artifact comes from a command of the program (listed in `COMMANDS`), except the feature set and the interrupted
run, which need a call from Python. All seeds are 0. A second call on the same machine writes the same tensors and
numbers; durations and peak memory differ.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from omnidistill.heads import random_heads
from omnidistill.run import fingerprint, heads_fingerprint, versions
from omnidistill.tracking import SilentProgress
from safetensors.torch import save_file
from torch import Tensor

import omnidistill
from omnidistill.cli import main

HERE = Path(__file__).resolve().parent
WIDTHS = {"a": 12, "b": 14, "c": 16}
ROWS = {"heads": 48, "train": 64, "validation": 40, "test": 40}

SMOKE = "--preset smoke --set heads.width=8 --size 8 --set distill.batch_size=5"
FEW_STEPS = "--set distill.iterations=4 --set distill.num_student_steps=8 --set distill.validate_every=2"
SHORT_FULL = "--set evaluate.max_epochs=3 --set evaluate.learning_rates=[0.3,1.0] --set evaluate.batch_size=16"
CHOSEN = "--set distill.batch_size=5 --set distill.max_steps=32 --set distill.learning_rates=[0.1,1.0]"
COMMANDS = (
    "heads SET --preset smoke --set heads.width=8 -o HEADS",
    "experts SET --preset smoke --set experts.num_experts=3 --set experts.num_epochs=2 --heads HEADS -o EXPERTS",
    f"distill SET {SMOKE} -o RUN-float",
    "evaluate RUN-float --seeds 2",
    (
        f"distill SET --preset compact --bytes 2% --heads HEADS {FEW_STEPS} {SHORT_FULL} --set experts.num_experts=2 "
        "--set experts.batch_size=16 --set distill.batch_size=16 -o RUN-bits"
    ),
    (
        f"distill SET {SMOKE} --set joint=false --set experts.num_epochs=2 --set distill.iterations=2 "
        "--set distill.validate_every=0 -o RUN-pairs"
    ),
    f"distill SET --preset herding --size 8 --heads heads.safetensors {CHOSEN} -o RUN-select",
    f"distill SET --preset covmatch --size 8 --heads HEADS {CHOSEN} -o RUN-covmatch",
    f"distill SET --preset apm --size 8 --heads HEADS {CHOSEN} -o RUN-apm",
    (
        f"distill SET --preset task --size 8 --heads HEADS {FEW_STEPS} --set distill.similarity.rank=2 "
        "--set distill.batch_size=5 -o RUN-task"
    ),
    "compare SET --config comparison.toml -o COMPARISON",
)
INTERRUPTED = (
    "distill.iterations=6",
    "distill.validate_every=2",
    "heads.width=8",
    "distill.size=8",
    "distill.batch_size=5",
)
INTERRUPTED_AFTER = 3
WRITTEN = ("SET", "HEADS", "heads.safetensors", "EXPERTS", "COMPARISON", "numbers.json")


class InterruptAfter(SilentProgress):
    """Press Ctrl-C while an iteration is reported; the run finishes the iteration, writes a checkpoint and stops."""

    def __init__(self, iteration: int) -> None:
        self.left = iteration

    def advance(self, n: int = 1, **fields: Any) -> None:
        if "loss" in fields:
            self.left -= n
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)


def write() -> None:
    """Write everything in an empty folder with relative paths, remove what names the machine, and move it here."""
    if versions()["omnidistill"] != "0.1.0":
        raise SystemExit("write.py needs the code of omnidistill 0.1.0")
    with (
        tempfile.TemporaryDirectory() as place,
        contextlib.chdir(place),
        patch.object(platform, "platform", return_value="linux"),
    ):
        make(Path())
        clean(Path())
        (Path() / "numbers.json").write_text(json.dumps(numbers(Path()), indent=1) + "\n", "utf-8")
        refuse_machine_names(Path())
        for old in [*HERE.glob("RUN-*"), *(HERE / name for name in WRITTEN)]:
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
        for new in [*Path().glob("RUN-*"), *(Path(name) for name in WRITTEN)]:
            shutil.move(new, HERE / new.name)


def make(root: Path) -> None:
    shutil.copy(HERE / "comparison.toml", root / "comparison.toml")
    data = omnidistill.prepare(omnidistill.planted(WIDTHS, ROWS, latent=6, positives_per_group=2))
    omnidistill.save_features(data, root / "SET")
    save_file(random_heads(WIDTHS, 8, torch.Generator().manual_seed(0)), root / "heads.safetensors")
    for line in COMMANDS:
        run_command(*line.split())
    interrupt(root / "RUN-interrupted")


def run_command(*arguments: str) -> None:
    """The command in this process; the recorded command line begins with the program's name."""
    with patch.object(sys, "argv", ["omnidistill", *arguments]), contextlib.redirect_stdout(io.StringIO()):
        code = main(list(arguments))
    if code:
        raise SystemExit(f"omnidistill {' '.join(arguments)}: exit code {code}")


def interrupt(folder: Path) -> None:
    """A run that stopped after `INTERRUPTED_AFTER` iterations; its experts are those of EXPERTS."""
    config = omnidistill.load_config(preset="smoke", overrides=INTERRUPTED)
    arguments = " ".join(f"--set {setting}" for setting in INTERRUPTED)
    command = f"omnidistill distill SET --preset smoke {arguments} --experts EXPERTS -o {folder.name}"
    try:
        omnidistill.run_distill(
            "SET",
            config,
            folder,
            experts=Path("EXPERTS"),
            command=command,
            progress=InterruptAfter(INTERRUPTED_AFTER),
        )
    except KeyboardInterrupt:
        return
    raise SystemExit("the run was not interrupted")


def clean(root: Path) -> None:
    """Delete lock files and pages; replace the data path in files without a checksum."""
    for path in sorted(root.rglob("*")):
        if path.name in (".lock", "report.html"):
            path.unlink()
        elif path.suffix == ".json" and path.name != "manifest.json":
            content = json.loads(path.read_text("utf-8"))
            plain = without_machine(content)
            if plain != content:
                path.write_text(json.dumps(plain, indent=1), "utf-8")


def without_machine(value: Any) -> Any:
    if isinstance(value, list):
        return [without_machine(each) for each in value]
    if not isinstance(value, dict):
        return value
    plain = {key: without_machine(each) for key, each in value.items()}
    if isinstance(plain.get("data"), str) and os.path.isabs(plain["data"]):
        plain["data"] = Path(plain["data"]).name
    return plain


def refuse_machine_names(root: Path) -> None:
    system = os.uname()
    names = [str(Path.cwd()), f"/{HERE.parts[1]}/", f'"{system.nodename}"', system.release, tempfile.gettempdir() + "/"]
    for path in root.rglob("*"):
        for name in names:
            if path.is_file() and name.encode() in path.read_bytes():
                raise SystemExit(f"{path}: contains {name!r}, which belongs to this machine")


# numbers


def numbers(root: Path) -> dict[str, Any]:
    """What later code must find in the artifacts, and compute from them."""
    data = omnidistill.load_features(root / "SET")
    experts = omnidistill.load_experts(root / "EXPERTS" / "buffer")
    heads = {name: omnidistill.load_heads(root / name, WIDTHS)[0] for name in ("HEADS", "heads.safetensors")}
    runs = dict(all_sets(root))
    with tempfile.TemporaryDirectory() as place:
        resumed = Path(place) / "RUN-interrupted"
        shutil.copytree(root / "RUN-interrupted", resumed)
        config = omnidistill.open_run(resumed).config
        omnidistill.run_distill("SET", config, resumed, experts=root / "EXPERTS", resume=True)
        runs["RUN-interrupted"] = numbers_of_set(resumed, omnidistill.open_run(resumed).heads(data))
    scores = json.loads((root / "RUN-float" / "scores.json").read_text("utf-8"))
    table = json.loads((root / "COMPARISON" / "comparison.json").read_text("utf-8"))
    return {
        "set": {
            "fingerprint": fingerprint(data),
            "rows": len(data),
            "splits": {split: len(data.split(split)) for split in ROWS},
            "features": described(data.features),
        },
        "heads": {name: {"fingerprint": heads_fingerprint(each), **described(each)} for name, each in heads.items()},
        "experts": {
            "num_experts": experts.num_experts,
            "num_epochs": experts.num_epochs,
            "modalities": list(experts.modalities),
            "squared_distances": describe(experts.squared_distances),
            "heads": {
                f"{expert}/{epoch}": described(experts.heads(expert, epoch))
                for expert in range(experts.num_experts)
                for epoch in range(experts.num_epochs + 1)
            },
        },
        "runs": runs,
        "scores": {"RUN-float": {name: means(scores[name]["recall"]) for name in scores["lines"]}},
        "comparison": {
            line["name"]: {**{key: line[key] for key in ("kind", "size", "bytes")}, "recall": means(line["recall"])}
            for line in table["lines"]
        },
    }


def all_sets(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and numbers of every finished set; a set of a pair is named RUN-pairs/pairs/A~B."""
    data = omnidistill.load_features(root / "SET")
    folders = [*root.glob("RUN-*"), *root.glob("COMPARISON/cells/*/run")]
    for folder in sorted(folders):
        if folder.name != "RUN-interrupted":
            for part in omnidistill.open_run(folder).parts:
                yield str(part.folder.relative_to(root)), numbers_of_set(part.folder, part.heads(data))


def numbers_of_set(folder: Path, start: Mapping[str, Tensor]) -> dict[str, Any]:
    distilled = omnidistill.DistilledSet.load(folder / "distilled")
    trained = distilled.train(dict(start))
    return {
        "tensors": described(distilled.tensors),
        "recipe": vars(distilled.recipe) | {"step_sizes": list(distilled.recipe.step_sizes)},
        "length": len(distilled),
        "bytes": distilled.bytes,
        "initial_ids": list(distilled.initial_ids),
        "rows": described(distilled.rows()),
        "similarity": describe(distilled.similarity()),
        "trained": {"fingerprint": heads_fingerprint(trained), **described(trained)},
        "records": records(folder),
    }


def records(folder: Path) -> list[dict[str, Any]]:
    """Every record of the log without durations."""
    path = folder / "metrics.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [{key: value for key, value in json.loads(line).items() if "seconds" not in key} for line in lines]


def described(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {name: describe(tensor) for name, tensor in tensors.items()}


def describe(tensor: Tensor) -> dict[str, Any]:
    """Checksum of the bytes, shape, the first four numbers, and mean and norm in float64."""
    tensor = tensor.detach().contiguous()
    return {
        "sha256": hashlib.sha256(tensor.numpy().tobytes()).hexdigest(),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": list(tensor.shape),
        "first": tensor.flatten()[:4].tolist(),
        "mean": float(tensor.double().mean()),
        "norm": float(torch.linalg.vector_norm(tensor.double())),
    }


def means(recall: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    return {way: {k: spread["mean"] for k, spread in each.items()} for way, each in recall.items()}


if __name__ == "__main__":
    write()
