"""The result of a distillation method: the distilled set, and the log, time and rank floor of its distillation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from omnidistill.distillation.distilled_set import DistilledSet
from omnidistill.io.tracking import MetricsRecord


@dataclass(frozen=True)
class Distillation:
    """The result of a distillation method.

    Attributes:
        distilled: the set with the best validation score, or the last set if none was validated. Its provenance
            contains notes for the user.
        seconds: time spent, including the time before an interruption.
        records: the metrics log.
        floor: lower bound on the trajectory matching loss of each modality; None if it cannot be computed.
    """

    distilled: DistilledSet
    seconds: float
    records: tuple[MetricsRecord, ...] = ()
    floor: Mapping[str, float] | None = None
