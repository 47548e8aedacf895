"""The result of a distillation method in a run folder.

RUN/metrics.jsonl     the metrics log
RUN/floor.json        the rank floor, if the method computes one
RUN/distilled/        the set
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from omnidistill.distillation import Distillation, DistilledSet
from omnidistill.distillation.outer_loop import METRICS
from omnidistill.experiments.run.run_records import FLOOR, RankFloor
from omnidistill.io.artifacts import write_atomic
from omnidistill.io.tracking import read_records


def save_part(folder: Path, part: Distillation) -> None:
    """Write the result of a method to a run folder. The set is written last, because it marks the run as finished."""
    if not (folder / METRICS).exists():
        lines = [json.dumps(record.to_json(), allow_nan=False).encode() + b"\n" for record in part.records]
        write_atomic(folder / METRICS, b"".join(lines))
    if part.floor is not None:
        write_atomic(folder / FLOOR, json.dumps({"floor": dict(part.floor)}).encode())
    part.distilled.save(folder / "distilled")


def check_part(folder: Path, modalities: Collection[str]) -> None:
    """Check that the rank floor is not damaged. If the set is finished, check the metrics log as well.

    Args:
        folder: the run folder.
        modalities: the modalities of the run.

    Raises:
        InputError: a file is damaged.
    """
    if (folder / METRICS).exists() and (folder / "distilled" / "manifest.json").exists():
        read_records(folder / METRICS)
    RankFloor.read(folder, modalities)


def load_part(folder: Path, distilled: DistilledSet, seconds: float) -> Distillation:
    """Return the result of a method, read from a run folder.

    Args:
        folder: the run folder.
        distilled: the set in this folder.
        seconds: time that the method took.

    Raises:
        InputError: the metrics log or the rank floor is damaged.
    """
    log = folder / METRICS
    return Distillation(
        distilled,
        seconds,
        tuple(read_records(log)) if log.exists() else (),
        RankFloor.read(folder, distilled.modalities),
    )
