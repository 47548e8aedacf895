"""A distilled set whose rows are mixtures of real items. It can be computed for encoders that are not known yet.

    X_m = normalise(A F_m)

F_m are the features of the items in modality m, and X_m are the rows of the set. All modalities share the mixing matrix
A. Its values are rounded to few bits. `distillation.mixture_rows` explains how A is learned. Heads are computed from
the set by the recipe "anchor".

`DistilledSet.realise` computes the rows for another encoder, from its features of the same items.
`DistilledSet.items` shows which items each row is a mixture of.

If the new encoder has encoded all items, ridge CCA on these items gives better heads than a mixture does. Mixtures are
useful if a set must stay the same while encoders change, and to explain the rows of a set.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from omnidistill.core.errors import InputError
from omnidistill.core.settings import Count, Positive
from omnidistill.core.threads import threads_for
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import Distillation, DistilledSet
from omnidistill.distillation.head_learning import LearningSettings
from omnidistill.distillation.mixture_rows import Augmentation, MixtureLearning, MixtureRows
from omnidistill.evaluation.validation import can_choose, doubt, score_alone_and_stacked
from omnidistill.io.tracking import MetricsRecord
from omnidistill.methods.learned_heads import (
    NUM_WEIGHTS,
    best_stack_weight,
    check_size,
    learn_with_validation,
    most_directions,
    notes_on_size,
)
from omnidistill.methods.method import Method, methods
from omnidistill.methods.task import Task
from omnidistill.models.objectives import AnyObjective, InfoNCE
from omnidistill.models.similarities import FixedIdentity, Similarity
from omnidistill.models.storages import RowStorage
from omnidistill.training.closed_form import Moments, accumulate_moments
from omnidistill.training.recipes.anchor_regression import Anchor
from omnidistill.training.recipes.recipe import Recipe


@methods.register("mixture")
class MixtureMethod(Method):
    """Rows that are mixtures of real items.

    The same mixtures can be computed from the features of another encoder, which gives a set for that encoder.
    """

    cites: ClassVar[tuple[str, ...]] = ("kip", "frepo")

    outer: AnyObjective = InfoNCE()
    """Loss of trained heads on real rows. The mixing matrix is learned to minimise this loss."""
    items_per_row: Count | None = None
    """Number of items of which each synthetic row is a mixture. If absent, every row is a mixture of all training
    rows."""
    candidates: Count = 8
    """Number of candidate items per synthetic row, as a multiple of `items_per_row`. Learning chooses among them."""
    weight_bits: Literal[32, 16, 8, 6, 4, 3, 2] = 6
    """Bits per value of the mixing matrix."""
    powers: tuple[Positive, Positive] = (0.3, 1.2)
    """Range of the exponent for the standard deviations of principal components. Every iteration draws an exponent, to
    imitate another encoder. (1, 1) means no change."""
    noise: Annotated[float, Field(ge=0)] = 0.5
    """Standard deviation of the noise that is added to features in learning, relative to their root mean square."""
    weight: Annotated[float, Field(gt=0, le=1)] | None = None
    """Weight of the heads computed from the set when they are stacked on initial heads. With 1, the result does not use
    the initial heads. If absent, the weight is chosen on validation."""
    keep_width: bool = False
    """Whether stacked heads are reduced to the output width of the initial heads."""
    cca_ridges: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.1, 0.3, 1.0)
    """Candidate ridges for the CCA that initialises the mixing matrix, relative to the mean eigenvalue of each
    covariance; chosen on validation."""
    ridges: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.03, 0.1, 0.3, 1.0)
    """Candidates for the initial ridge of the regression from rows to anchors; chosen on validation."""
    iterations: Annotated[int, Field(ge=0)] = 140
    """Number of iterations of Adam. With 0, the mixing matrix keeps its initial values, which are in closed form."""
    learning_rate: Positive = 0.02
    """Learning rate of Adam for the mixing matrix (scaled to a root mean square of 0.1) and the logarithms of the
    ridges."""
    real_rows: Annotated[int, Field(ge=2)] = 560
    """Number of real rows per iteration; all training rows if there are fewer."""
    validate_every: Count = 20
    """Number of iterations between validations."""

    @model_validator(mode="after")
    def _ordered(self) -> MixtureMethod:
        if self.powers[0] > self.powers[1]:
            raise ValueError(f"powers: the first ({self.powers[0]}) must not exceed the second ({self.powers[1]})")
        return self

    @property
    def set_similarity(self) -> Similarity:
        """Target similarity of the rows: the identity, so every row matches only itself."""
        return FixedIdentity()

    def placeholder_recipe(self, num_modalities: int) -> Recipe:
        """Return a recipe of kind "anchor" with placeholder values."""
        return Anchor(ridges=(1.0,) * num_modalities, weight=self.weight or 0.5, keep_width=self.keep_width)

    def most_rows(self, train: FeatureSet) -> int:
        """Return the largest useful number of rows: the number of directions that two modalities can share."""
        return most_directions(train)

    def run(self, task: Task) -> Distillation:
        """Initialise the mixing matrix in closed form, learn it, and return the set with the best validation score.

        Raises:
            InputError: the size is below 2 or above the number of training rows; the storage derives several training
                rows (views) from each stored row; or the data have a pairing matrix.
        """
        started_at, train, validation = time.monotonic(), task.development.train, task.development.validation
        check_size(self.kind, self.num_stored, self.num_rows, train)
        if train.pairing is not None:
            raise InputError(
                f"method '{self.kind}' needs groups, but the data have a pairing matrix; use another method, such as "
                "'anchor', or data without a pairing matrix"
            )
        chosen, doubtful = can_choose(validation), doubt(validation)
        notes = (*(() if doubtful is None else (doubtful,)), *notes_on_size(self.num_stored, train))
        with task.progress, threads_for(self.num_rows, train.widths, len(train)):
            task.progress.start(self.iterations + 1, f"learn {self.num_stored} mixtures")
            for note in notes:
                task.progress.note(note)
            moments = accumulate_moments(train)
            starts = [self._score(rows, task) for rows in self._initial(moments, task)]
            score, first = max(starts, key=lambda each: each[0])
            task.progress.advance(1, validation=score)
            settings = LearningSettings(self.outer, 0.0, self.iterations, self.learning_rate, self.real_rows)
            augmentation = Augmentation(self.powers, self.noise)
            outcome = learn_with_validation(
                MixtureLearning(first, train, moments, settings, augmentation, task.seed),
                (score, first),
                chosen,
                self.iterations,
                self.validate_every,
                lambda rows: self._score(rows, task)[0],
                task.progress,
            )
            distilled = self._as_set(outcome.best, task)
        seconds = time.monotonic() - started_at
        provenance = replace(distilled.provenance, validation=outcome.score, notes=notes)
        num_evaluated = len(starts) + outcome.num_evaluated + (0 if self.weight else NUM_WEIGHTS)
        final = {"validation": outcome.score, "judged": float(num_evaluated), "seconds": seconds}
        records = (*outcome.records, MetricsRecord(None, final, notes))
        return Distillation(replace(distilled, provenance=provenance), seconds, records)

    def _initial(self, moments: Moments, task: Task) -> list[MixtureRows]:
        """Return initial mixtures to choose from, one for each pair of a CCA ridge and a regression ridge."""
        items = None if self.items_per_row is None else (self.items_per_row, self.candidates * self.items_per_row)
        storages = RowStorage(bits=self.weight_bits), self.storage
        train = task.development.train
        initial = [
            MixtureRows.closed_form(moments, train, self.num_stored, ridge, items, storages)
            for ridge in self.cca_ridges
        ]
        return [rows.with_ridge(ridge) for rows in initial for ridge in self.ridges]

    def _score(self, rows: MixtureRows, task: Task) -> tuple[float, MixtureRows]:
        return score_alone_and_stacked(rows, task.start, task.development.validation, 0.0), rows

    def _as_set(self, rows: MixtureRows, task: Task) -> DistilledSet:
        """Return the set with its training recipe and its mixing matrix (the weights of the items in each row).

        The recipe computes heads from the set, and can stack them on initial heads: the outputs of both are weighted
        and concatenated. If the setting `weight` is None, validation chooses the weight of the computed heads.
        """
        weight = self.weight or best_stack_weight(rows, task.start, task.development.validation)
        recipe = Anchor(ridges=tuple(float(ridge) for ridge in rows.ridges), weight=weight, keep_width=self.keep_width)
        latent = {f"rows/{name}": x.detach().cpu() for name, x in rows.mixed().items()}
        return replace(task.as_set(self, latent).with_recipe(recipe), mixture=rows.mixture())
