"""Baselines for comparison with distilled sets. The registry `baselines` contains them by name."""

from collections.abc import Iterable

from omnidistill.evaluation.baselines.baseline import Allowance, AnyBaseline, Baseline, Setting, baselines

REQUIRED = ("zero-shot", "full")
"""Baselines that every table includes, because gain retained is measured relative to these two."""

DEFAULT = (
    *("zero-shot", "random", "low-rank", "equal-bytes", "equal-bytes-4-bit"),
    *("cca", "cca-infonce", "cca-stacked", "full-own", "full", "best"),
)
"""Baselines in a table if the user does not choose any."""


def default_baselines(names: Iterable[str] = DEFAULT) -> tuple[Baseline, ...]:
    """Create the baselines with these names, with default settings."""
    return tuple(baselines.build(name) for name in names)


__all__ = [
    "DEFAULT",
    "REQUIRED",
    "Allowance",
    "AnyBaseline",
    "Baseline",
    "Setting",
    "baselines",
    "default_baselines",
]
