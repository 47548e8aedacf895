"""Interface for baselines: methods that compute heads without a distilled set. All receive the same initial heads.

All choices are made on validation, because the data (a `Development`) contains no test split. The result of a baseline
depends only on its settings, the initial heads, the data, the evaluation protocol and a seed. It is therefore the same
in every table. A *sized* baseline also depends on an `Allowance`, the size of the sets with which it is compared.
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
    """How much a baseline may store: no more than the synthetic sets with which it is compared.

    Attributes:
        rows: number of training rows, for baselines that store rows (in float32).
        bytes: size in bytes, for baselines that store heads.
    """

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
        allowance: how much the baseline may store. It is needed only if the baseline depends on the size of the
            compared sets (`Baseline.sized`).
        fitted: results of the other baselines that this one requires (`Baseline.needs`).
    """

    data: Development
    start: Heads
    evaluate: EvaluateConfig
    seed: int
    allowance: Allowance | None = None
    fitted: Mapping[str, TrainedHeads] = field(default_factory=dict)


class Baseline(Component):
    """Base class for baselines, which tables list next to distilled sets."""

    sized: ClassVar[bool] = False
    """Whether the baseline depends on the size of the synthetic sets with which it is compared."""
    uses_bytes: ClassVar[bool] = False
    """Whether the baseline depends on the size in bytes of the compared sets, and not only on their number of rows."""
    needs_start: ClassVar[bool] = True
    """Whether the result of the baseline can be used only together with the initial heads. The size of these heads is
    not included in the bytes of the baseline."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Names of other baselines whose trained heads this baseline uses."""
    stores_heads: ClassVar[bool] = False
    """Whether a comparison stores the trained heads of this baseline, because other baselines are computed from
    them."""

    @abstractmethod
    def fit(self, setting: Setting) -> TrainedHeads:
        """Return the heads of `evaluate.num_seeds` runs, or of one run if the result does not depend on the seed."""

    def applies(self, setting: Setting) -> bool:
        """Return whether the baseline is meaningful for these inputs. If it is not, tables omit it."""
        return True

    def for_students(self, students: Sequence[Objective], evaluate: EvaluateConfig) -> tuple[Baseline, ...]:
        """Return the baselines that a table lists if this one is requested.

        By default, this is only the baseline itself. A subclass can return one baseline for each student objective.

        Args:
            students: the objectives with which students are trained on the sets in the table.
            evaluate: the evaluation protocol.
        """
        return (self,)

    @property
    def name(self) -> str:
        """Name of the table row, unique in each table."""
        return self.kind


_HERE = "omnidistill.evaluation.baselines"
STACKED = (
    *("cca", "cca-bytes", "cca-bytes-4-bit", "cca-bytes-coded"),
    *("direct-heads", "direct-heads-4-bit", "direct-heads-coded"),
    *("random-anchor", "group-means-anchor"),
)
"""Names of the baselines of which a variant NAME-stacked exists (see `stacked`)."""

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
        "cca-stacked": f"{_HERE}.stacked",
        "full-own": f"{_HERE}.all_rows",
        "full": f"{_HERE}.all_rows",
        "best": f"{_HERE}.best_all_rows",
        "random-anchor": f"{_HERE}.real_rows_anchor",
        "group-means-anchor": f"{_HERE}.real_rows_anchor",
        "cca-bytes": f"{_HERE}.cca_bytes",
        "cca-bytes-4-bit": f"{_HERE}.cca_bytes",
        "cca-bytes-coded": f"{_HERE}.cca_bytes",
        "direct-heads": f"{_HERE}.direct_heads",
        "direct-heads-4-bit": f"{_HERE}.direct_heads",
        "direct-heads-coded": f"{_HERE}.direct_heads",
        **{f"{name}-stacked": f"{_HERE}.stacked" for name in STACKED},
    },
    group="omnidistill.baselines",
)
"""All baselines by name, in table order."""

AnyBaseline = Annotated[Baseline, baselines]
"""Type of a settings field that holds a baseline."""
