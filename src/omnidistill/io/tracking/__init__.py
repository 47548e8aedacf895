"""What a run tells while it runs: a `Tracker` keeps its numbers on disk, `Views` of it show them elsewhere, a
`Progress` shows on stderr how far it is.

Nothing that computes reads any of them: turning them on or off changes no bit of a result.
"""

from omnidistill.io.tracking.metrics_log import JSON, JsonlTracker, NullTracker, Tracker
from omnidistill.io.tracking.progress import Progress, RichProgress, SilentProgress
from omnidistill.io.tracking.trackers import TRACKERS, Viewed, Views, check_trackers

__all__ = [
    "JSON",
    "TRACKERS",
    "JsonlTracker",
    "NullTracker",
    "Progress",
    "RichProgress",
    "SilentProgress",
    "Tracker",
    "Viewed",
    "Views",
    "check_trackers",
]
