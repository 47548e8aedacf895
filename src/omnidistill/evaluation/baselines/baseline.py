"""Interface of baselines: heads obtained from the same initial heads without a set, to compare sets with.

Every choice uses validation; a `Development` has no test split. A baseline depends only on its settings, the initial
heads, the data, the evaluation protocol, a seed and (if it is sized) an allowance, so a baseline
has the same scores in every table.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from omnidistill.core.registry import ComponentRegistry
from omnidistill.core.settings import Component
from omnidistill.data.featureset import Development
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.models.heads import Heads
from omnidistill.models.objectives import Objective


@dataclass(frozen=True)
class Allowance:
    """Limits of a sized baseline: number of real rows (in float32), and size of the stored heads in bytes."""

    rows: int
    bytes: int


@dataclass(frozen=True)
class Setting:
    """Inputs of a baseline.

    Attributes:
        data: training and validation rows.
        start: initial heads, {modality: d x p_m}, on the device of the data. Baselines compute there.
        evaluate: the evaluation protocol.
        seed: seed of every random stream.
        allowance: limits of a sized baseline; None for others.
        fitted: results of the baselines that this one `needs`.
    """

    data: Development
    start: Heads
    evaluate: EvaluateConfig
    seed: int
    allowance: Allowance | None = None
    fitted: Mapping[str, TrainedHeads] = field(default_factory=dict)


class Baseline(Component):
    """Base class of baselines: rows of a table that are not sets."""

    sized: ClassVar[bool] = False
    """Whether the baseline depends on the size of the sets."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Names of the baselines that it is computed from."""
    stores_heads: ClassVar[bool] = False
    """Whether a comparison stores the heads, because other baselines are computed from them."""

    @abstractmethod
    def fit(self, setting: Setting) -> TrainedHeads:
        """Train the heads: one run per student of the protocol, or a single run if training is deterministic."""

    def applies(self, setting: Setting) -> bool:
        """Return whether the baseline is meaningful for these inputs; otherwise tables omit its row."""
        return True

    def for_students(self, students: Sequence[Objective], evaluate: EvaluateConfig) -> tuple[Baseline, ...]:
        """Return the baselines that replace this one in a table of sets with these student objectives."""
        return (self,)

    @property
    def name(self) -> str:
        """Name of the row, unique in a table."""
        return self.kind


_HERE = "omnidistill.evaluation.baselines"
baselines: ComponentRegistry[Baseline] = ComponentRegistry(
    "baseline",
    Baseline,  # type: ignore[type-abstract]
    {
        "zero-shot": f"{_HERE}.zero_shot",
        "random": f"{_HERE}.random_real_rows",
        "low-rank": f"{_HERE}.low_rank_heads",
        "equal-bytes": f"{_HERE}.equal_bytes",
        "equal-bytes-4-bit": f"{_HERE}.equal_bytes",
        "cca": f"{_HERE}.ridge_cca",
        "cca-infonce": f"{_HERE}.cca_infonce",
        "cca-stacked": f"{_HERE}.cca_stacked",
        "full-own": f"{_HERE}.all_rows",
        "full": f"{_HERE}.all_rows",
        "best": f"{_HERE}.best_all_rows",
    },
    group="omnidistill.baselines",
)
"""Every baseline by name, in the order of tables."""

AnyBaseline = Annotated[Baseline, baselines]
"""Type of a settings field that holds a baseline."""
