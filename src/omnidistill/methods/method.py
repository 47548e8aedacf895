"""What a method is: it makes a set of N rows from data, start heads and (if it asks) expert trajectories."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, ClassVar

import torch

from omnidistill.core.errors import InputError
from omnidistill.core.registry import ComponentRegistry
from omnidistill.data.featureset import FeatureSet
from omnidistill.distill import Distillation
from omnidistill.distill.set_settings import SetSettings
from omnidistill.methods.task import Task


class Method(SetSettings):
    """Settings of a way to make a set, and the making itself."""

    has_iterations: ClassVar[bool] = False
    """Whether there is an outer loop, whose metrics trackers can show and that can continue from another set."""

    @abstractmethod
    def run(self, task: Task) -> Distillation:
        """Make a set of `size` rows and save it in FOLDER/distilled, its recipe chosen on validation.

        Sees no test row and draws from named streams of `task.seed` alone.

        Raises:
            InputError: a size that cannot be.
        """

    @property
    def uses_experts(self) -> bool:
        """Whether `run` asks for expert trajectories."""
        return False

    @property
    def last_expert_epoch(self) -> int:
        """The last expert epoch that is certain to be read; 0: none."""
        return 0

    @property
    def expert_span(self) -> int | None:
        """Expert epochs whose differences the buffer stores spectra of; None: all."""
        return 1

    def most_rows(self, train: FeatureSet) -> int:
        """Return the largest size that the method can make of these training rows."""
        return len(train)


def check_result(method: Method, result: Any, task: Task) -> Distillation:
    """Return the result of a method if it keeps its contract.

    Raises:
        InputError: it is no `Distillation`, or its set has other modalities, another size or NaN or Inf in its rows.
    """
    where = f"method '{method.kind}'" + (f" of package '{method.package}'" if method.package else "")
    if not isinstance(result, Distillation):
        raise InputError(f"{where}: run returned a {type(result).__name__}, expected a Distillation")
    distilled, modalities = result.distilled, task.development.train.modalities
    if distilled.modalities != modalities or distilled.size != method.num_stored:
        raise InputError(
            f"{where}: its set has {distilled.size} rows of {', '.join(distilled.modalities)}, expected "
            f"{method.num_stored} of {', '.join(modalities)}"
        )
    if method.package and not all(bool(torch.isfinite(rows).all()) for rows in distilled.rows().values()):
        raise InputError(f"{where}: the rows of its set hold NaN or Inf")
    return result


_HERE = "omnidistill.methods"
methods: ComponentRegistry[Method] = ComponentRegistry(
    "method",
    Method,  # type: ignore[type-abstract]
    {
        "learn": f"{_HERE}.learn",
        "select": f"{_HERE}.select",
        "covmatch": f"{_HERE}.covmatch",
        "apm": f"{_HERE}.apm",
    },
    group="omnidistill.methods",
)
"""Every method by name."""

AnyMethod = Annotated[Method, methods]
"""Type of a settings field that holds a method."""
