"""Interface of methods, which produce a synthetic set from data, initial heads and, if needed, expert trajectories."""

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
    """Base class of methods. The fields of a method are its settings, and `run` produces the set."""

    has_iterations: ClassVar[bool] = False
    """Whether the method has an outer loop. Trackers can show such a loop, and it can start from an existing set."""

    @property
    def may_return_fewer(self) -> bool:
        """Whether the result may have fewer than `size` rows, because fewer rows with more bits each can be better."""
        return False

    @abstractmethod
    def run(self, task: Task) -> Distillation:
        """Produce a set of `size` rows with a recipe for training on it.

        The recipe is chosen by validation score. A method must not read test rows. It must draw random numbers only
        from named streams that are seeded by `task.seed`.

        Raises:
            InputError: the method cannot produce a set of this size.
        """

    @property
    def uses_experts(self) -> bool:
        """Whether the method needs expert trajectories."""
        return False

    @property
    def last_expert_epoch(self) -> int:
        """Minimum number of epochs for which every expert must be trained, or 0 if the method sets no minimum."""
        return 0

    @property
    def expert_span(self) -> int | None:
        """Number of expert epochs that a student must reproduce. None means all epochs of an expert.

        The number also defines the updates of the first expert. With 2, they are the changes of its heads from epoch 0
        to 2, from 1 to 3, and so on. The expert buffer stores their singular values, from which the rank floor (a lower
        bound on the matching loss) is computed.
        """
        return 1

    def most_rows(self, train: FeatureSet) -> int:
        """Return the largest number of synthetic rows that the method can produce from these training rows."""
        return len(train)


def check_result(method: Method, result: Any, task: Task) -> Distillation:
    """Check that the result of a method meets the requirements on methods, and return the result.

    Raises:
        InputError: the result is not a `Distillation`, or its set has the wrong modalities, the wrong size, or rows
            with NaN or Inf.
    """
    where = f"method '{method.kind}'" + (f" from package '{method.package}'" if method.package else "")
    if not isinstance(result, Distillation):
        raise InputError(f"{where}: run() returned a {type(result).__name__}, but must return a Distillation")
    distilled, modalities = result.distilled, task.development.train.modalities
    fits = distilled.size == method.num_stored or (method.may_return_fewer and distilled.size < method.num_stored)
    if distilled.modalities != modalities or not fits:
        most = "at most " if method.may_return_fewer else ""
        raise InputError(
            f"{where}: run() returned a synthetic set with {distilled.size} rows and the modalities "
            f"{', '.join(distilled.modalities)}; it must have {most}{method.num_stored} rows and the modalities "
            f"{', '.join(modalities)}"
        )
    if method.package and not all(bool(torch.isfinite(rows).all()) for rows in distilled.rows().values()):
        raise InputError(f"{where}: run() returned a synthetic set with NaN or Inf in its rows; return finite rows")
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
        "anchor": f"{_HERE}.anchor",
        "mixture": f"{_HERE}.mixture",
    },
    group="omnidistill.methods",
)
"""All methods, by name."""

AnyMethod = Annotated[Method, methods]
"""Type of a settings field that holds a method."""
