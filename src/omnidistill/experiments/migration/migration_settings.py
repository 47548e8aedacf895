"""The settings of `migrate`: how a migration kit (maps between old and new embeddings) is learned and stored."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from omnidistill.core.settings import Count, Positive, Settings
from omnidistill.models.storages import AnyStorage
from omnidistill.models.storages.coded import CodedStorage


class MigrationSettings(Settings):
    """How a migration kit (maps between the embeddings of two encoders) is learned and stored."""

    storage: AnyStorage = CodedStorage(bits=3.0)
    """How the rows of the kit are stored."""
    iterations: Annotated[int, Field(ge=0)] = 80
    """Number of iterations of Adam. With 0, the rows of the kit keep their initial values, which are in closed form."""
    learning_rate: Positive = 0.02
    """Learning rate of Adam, relative to the root mean square of the rows of the kit."""
    batch_size: Annotated[int, Field(ge=2)] = 400
    """Number of pairs of old and new embeddings per iteration; all training pairs if there are fewer."""
    tau: Positive = 0.05
    """Temperature of the InfoNCE loss that is minimised."""
    cca_ridges: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.1, 1.0)
    """Candidate ridges for the CCA that initialises the rows of the kit, relative to the mean eigenvalue of each
    covariance; chosen on validation."""
    ridges: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.001, 0.01, 0.1)
    """Candidates for the initial ridge of the regression that gives the maps; chosen on validation."""
    validate_every: Count = 10
    """Number of iterations between validations."""
