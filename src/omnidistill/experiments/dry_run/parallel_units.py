"""Measure how long the workers of an engine take to start, and estimate the cost of `encode`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing

from omnidistill.core.engines import Engine, LocalEngine, engine_from
from omnidistill.core.memory import peak_memory
from omnidistill.encoding.encoders.encoder import Encoder
from omnidistill.encoding.extraction import EncodeSettings, estimate
from omnidistill.encoding.manifests.manifest import Manifest
from omnidistill.experiments.dry_run.cost_estimate import CostEstimate, Stage
from omnidistill.io.tracking import Progress, SilentProgress


def start_workers(engine: Engine | str, device: str = "cpu", helpers: int = 0) -> tuple[int, list[Stage], list[str]]:
    """Start the workers of an engine, measure how long this takes, and stop them.

    Returns:
        Three values: the number of tasks that run at once, a list with the measured cost of starting the workers, and a
        list with a note on parallel processes. Both lists are empty if the engine runs all tasks in this process.

    Raises:
        InputError: the engine does not exist or cannot be started.
    """
    engine, started_at = engine_from(engine, device) if isinstance(engine, str) else engine, time.monotonic()
    if engine.here:
        return 1, [], []
    with engine:
        at_once = engine.at_once(helpers)
        with closing(engine.run(_load_program, range(at_once))) as finished:
            for done in finished:
                done.result()
    stage = Stage("workers", at_once, "processes", time.monotonic() - started_at)
    return at_once, [stage], [f"{at_once} processes work in parallel; the peak memory is per process"]


def _load_program(unit: int) -> None:
    import omnidistill.experiments.comparison  # noqa: F401


def estimate_encoding(
    manifest: Manifest,
    encoders: Mapping[str, Encoder],
    settings: EncodeSettings,
    limit: int | None = None,
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> CostEstimate:
    """Estimate the time, memory and disk space that `encode` needs in an empty folder.

    Raises:
        InputError: `encode` would reject these arguments before it starts, or none of the sampled rows can be encoded.
    """
    progress = progress or SilentProgress()
    with progress, peak_memory() as peak:
        progress.start(1, "dry run")
        at_once, stages, notes = start_workers(engine or LocalEngine(), helpers=settings.num_workers)
        cost = estimate(manifest, encoders, settings=settings, limit=limit, at_once=at_once)
        progress.advance(1)
        memory = peak()
    stages.append(Stage("encode", cost.items, "items", cost.seconds, cost.bytes))
    if settings.num_workers:
        notes.append(f"{settings.num_workers} more processes prepare items, and each needs additional memory")
    return CostEstimate(tuple(stages), cost.rows, memory, tuple(notes), what="rows")
