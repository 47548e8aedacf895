"""Pages about runs and comparisons that have not finished, rewritten until they end (`report --follow`)."""

from omnidistill.experiments.live.follow import Followed, follow_report

__all__ = ["Followed", "follow_report"]
