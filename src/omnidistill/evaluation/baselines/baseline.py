"""Interface for baselines: heads obtained from the same initial heads without a distilled set, for comparison.

All choices are made on validation; a `Development` has no test split. A baseline depends only on its settings, the
initial heads, the data, the evaluation protocol and a seed. A *sized* baseline also depends on an allowance. The
scores of a baseline are therefore the same in every table.
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
    """Limits for a sized baseline: the number of real rows (float32), and the size of its stored heads in bytes."""

    rows: int
    bytes: int


@dataclass(frozen=True)
class Setting:
    """Inputs to a baseline.

    Attributes:
        data: training and validation rows.
        start: initial heads, {modality: d x p_m}, on the device of the data. Baselines compute on this device.
        evaluate: the evaluation protocol.
        seed: seed for all random streams.
        allowance: limits for a sized baseline; None if the baseline is not sized.
        fitted: results of the baselines named in `needs`.
    """

    data: Development
    start: Heads
    evaluate: EvaluateConfig
    seed: int
    allowance: Allowance | None = None
    fitted: Mapping[str, TrainedHeads] = field(default_factory=dict)


class Baseline(Component):
    """Base class for baselines: table rows that are not distilled sets."""

    sized: ClassVar[bool] = False
    """Whether the baseline depends on the size of the sets."""
    needs_start: ClassVar[bool] = True
    """Whether a receiver needs the initial heads in addition to the bytes of the row."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Names of the other baselines whose results this baseline uses."""
    stores_heads: ClassVar[bool] = False
    """Whether a comparison stores the heads, because other baselines are computed from them."""

    @abstractmethod
    def fit(self, setting: Setting) -> TrainedHeads:
        """Return the heads: `evaluate.num_seeds` runs, or a single run if the result is deterministic."""

    def applies(self, setting: Setting) -> bool:
        """Return whether the baseline is meaningful for these inputs; otherwise tables omit its row."""
        return True

    def for_students(self, students: Sequence[Objective], evaluate: EvaluateConfig) -> tuple[Baseline, ...]:
        """Return the baselines that replace this one in a table; `students` are the student objectives of its sets."""
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
"""All baselines by name, in table order."""

AnyBaseline = Annotated[Baseline, baselines]
"""Type of a settings field that holds a baseline."""
