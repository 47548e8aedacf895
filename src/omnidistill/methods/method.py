"""What a method is: it makes a set of N rows from data, start heads and (if it asks) expert trajectories."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar

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
