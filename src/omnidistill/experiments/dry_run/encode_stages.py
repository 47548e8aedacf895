"""Rehearsal of `encode`: a few rows prepared and a batch of each modality encoded, timed and multiplied."""

from __future__ import annotations

from collections.abc import Mapping

from omnidistill.core.engines import Engine, LocalEngine
from omnidistill.core.memory import peak_memory
from omnidistill.encoding.encoders.encoder import Encoder
from omnidistill.encoding.extraction import EncodeSettings, estimate
from omnidistill.encoding.manifests.manifest import Manifest
from omnidistill.experiments.dry_run.cost_estimate import Foreseen, Stage
from omnidistill.experiments.dry_run.parallel_estimate import Spread
from omnidistill.io.tracking import Progress, SilentProgress


def rehearse_encode(
    manifest: Manifest,
    encoders: Mapping[str, Encoder],
    settings: EncodeSettings,
    limit: int | None = None,
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> Foreseen:
    """What `encode` will take, in an empty folder. Raises InputError for what it refuses before it begins, and where
    none of the rows tried can be encoded.
    """
    progress = progress or SilentProgress()
    with progress:
        progress.start(1, "rehearse")
        spread = Spread.of(engine or LocalEngine(), settings.num_workers)
        with peak_memory() as peak:
            needed = estimate(manifest, encoders, settings=settings, limit=limit, at_once=spread.at_once)
            memory = peak()
        progress.advance(1)
    stages = [] if spread.here else [spread.stage()]
    stages.append(Stage("encode", needed.items, "items", needed.seconds, needed.bytes))
    notes = list(spread.notes())
    if settings.num_workers:
        notes.append(f"beside it {settings.num_workers} processes prepare items, each with memory of its own")
    return Foreseen(tuple(stages), needed.rows, memory, tuple(notes), what="rows")
