"""Interface of methods: produce a set of N rows from data, initial heads and (on request) expert trajectories."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, ClassVar

import torch

from omnidistill.core.errors import InputError
from omnidistill.core.registry import ComponentRegistry
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import Distillation
from omnidistill.distillation.set_settings import SetSettings
from omnidistill.methods.task import Task


class Method(SetSettings):
    """Base class of methods: the settings, and `run`, which produces the set."""

    has_iterations: ClassVar[bool] = False
    """Whether there is an outer loop, which trackers can show and which can continue from another set."""

    @abstractmethod
    def run(self, task: Task) -> Distillation:
        """Produce a set of `size` rows, choose its recipe on validation, and save it in FOLDER/distilled.

        A method must not read test rows, and must draw random numbers only from named streams of `task.seed`.

        Raises:
            InputError: the method cannot produce a set of this size.
        """

    @property
    def uses_experts(self) -> bool:
        """Whether `run` needs expert trajectories."""
        return False

    @property
    def last_expert_epoch(self) -> int:
        """The last expert epoch that is always read; 0: none."""
        return 0

    @property
    def expert_span(self) -> int | None:
        """Number of expert epochs between the snapshots whose spectra the buffer stores; None: all epochs."""
        return 1

    def most_rows(self, train: FeatureSet) -> int:
        """Return the largest possible size of a set for these training rows."""
        return len(train)


def check_result(method: Method, result: Any, task: Task) -> Distillation:
    """Return the result of a method unchanged if it satisfies the contract of methods.

    Raises:
        InputError: the result is not a `Distillation`, or its set has other modalities, another size, or NaN or Inf in
            its rows.
    """
    where = f"method '{method.kind}'" + (f" of package '{method.package}'" if method.package else "")
    if not isinstance(result, Distillation):
        raise InputError(f"{where}: run returned {type(result).__name__}, expected Distillation")
    distilled, modalities = result.distilled, task.development.train.modalities
    if distilled.modalities != modalities or distilled.size != method.num_stored:
        raise InputError(
            f"{where}: the set has {distilled.size} rows of {', '.join(distilled.modalities)}, expected "
            f"{method.num_stored} of {', '.join(modalities)}"
        )
    if method.package and not all(bool(torch.isfinite(rows).all()) for rows in distilled.rows().values()):
        raise InputError(f"{where}: the rows of the set contain NaN or Inf")
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
