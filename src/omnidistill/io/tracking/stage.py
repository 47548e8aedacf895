"""The current stage of a command: how many steps are done, and an estimate of the remaining time.

    remaining time = elapsed time * remaining steps / timed steps

Timed steps are finished steps whose time is known. If a command resumes and does not know how long the steps before the
interruption took, these steps are not timed.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Stage:
    """A stage of a command, which may resume after an interruption.

    Attributes:
        label: name of the stage.
        total: number of steps.
        done: number of finished steps, including those before an interruption.
        untimed: number of finished steps whose time is not known.
        started_at: start time in seconds, from the caller's clock. If the stage resumes at 100 s, and the steps before
            the interruption took 30 s, it is 70. If their time is not known, it is 100.
    """

    label: str
    total: int
    done: int
    untimed: int
    started_at: float

    @staticmethod
    def start(total: int, label: str, done: int, seconds: float, now: float) -> Stage:
        """Return a stage that starts or resumes at the time `now`; see `Progress.start`."""
        timed = bool(done) and seconds > 0
        return Stage(label, total, done, 0 if timed else done, now - seconds if timed else now)

    def elapsed(self, now: float) -> float:
        """Return the time in seconds that the steps have taken so far."""
        return now - self.started_at

    def remaining(self, now: float) -> float | None:
        """Return the estimated remaining time in seconds; None if no step has been timed yet."""
        timed = self.done - self.untimed
        return self.elapsed(now) * max(0, self.total - self.done) / timed if timed else None


def time_left(seconds: float) -> str:
    """Return a text such as "about 12 min left"."""
    return f"about {seconds / 60:.0f} min left" if seconds >= 60 else f"about {seconds:.0f} s left"
