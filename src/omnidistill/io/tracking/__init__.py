"""Records of a run: a metrics log on disk, trackers that mirror the log, and a progress display on stderr.

`MetricsLog` is the source of truth. A `Tracker` shows the same numbers in another tool: TensorBoard, W&B, Trackio,
MLflow, or a tool that another package adds (see `trackers`). `Progress` shows the progress of the current stage of the
run, such as distillation. None of them changes a result.
"""

from omnidistill.io.tracking.metrics_log import JsonlLog, MemoryLog, MetricsLog
from omnidistill.io.tracking.metrics_record import MOST_METRIC, MetricsRecord, read_records
from omnidistill.io.tracking.progress import Progress, RichProgress, SilentProgress, shown
from omnidistill.io.tracking.tracked_log import TrackedLog, TrackerGroup
from omnidistill.io.tracking.tracker import Tracker, TrackerFactory, check_trackers, trackers

__all__ = [
    "MOST_METRIC",
    "JsonlLog",
    "MemoryLog",
    "MetricsLog",
    "MetricsRecord",
    "Progress",
    "RichProgress",
    "SilentProgress",
    "TrackedLog",
    "Tracker",
    "TrackerFactory",
    "TrackerGroup",
    "check_trackers",
    "read_records",
    "shown",
    "trackers",
]
