"""Learn rows for the recipe "anchor": ridge regression to anchors (unit vectors) that all modalities share.

Let X_m be the N synthetic rows of modality m. From the rounded rows, the recipe computes the heads W_m, with one ridge
lambda_m per modality (see `training.recipes.anchor_regression`). The heads J_m concatenate the outputs of W_m, with
weight a, and the outputs of the initial heads. For a loss L, such as InfoNCE, and the setting c = `start_share` in
[0, 1], the problem is

    min over X, lambda, a of  (1 - c) L(W_m x) + c L(J_m x)        on batches of training rows x

If `rate_weight` is above 0, a penalty on the estimated bits per number is added. Gradients are propagated through the
linear solve of the recipe, so the method needs no experts and trains no students. The rounding is ignored in gradients
(straight-through estimator). With c = 0, learning does not use the initial heads.

Let V_m be ridge CCA heads in their canonical basis, and V_m^+ their pseudo-inverses. The initial rows are
X_m = (V_m^+)^T, scaled to equal length.

Validation chooses the ridge of CCA, the initial ridges lambda, and the iteration whose rows are returned. Validation
may also choose a cutoff k: head outputs after the k-th are then scaled down (see `training.closed_form.anchor_map`). If
rows are entropy-coded, validation may choose fewer rows with more bits per number.

Related: KIP (Nguyen et al. 2021, arXiv 2107.13034) and FRePo (Zhou et al. 2022, arXiv 2206.00719) learn rows through
kernel ridge regression on class labels.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from omnidistill.core.device import moved
from omnidistill.core.settings import Count, Positive
from omnidistill.core.threads import threads_for
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import Distillation, DistilledSet
from omnidistill.distillation.anchor_rows import AnchorRows
from omnidistill.distillation.head_learning import Learning, LearningSettings
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
from omnidistill.models.storages import RowStorage, Storage
from omnidistill.models.storages.coded import CodedStorage
from omnidistill.training.closed_form import Moments, Pairing, accumulate_moments
from omnidistill.training.recipes.anchor_regression import Anchor
from omnidistill.training.recipes.recipe import Recipe

_LOW_WEIGHTS = (0.1, 0.2, 0.3, 0.4)  # only with a cutoff, see `AnchorRows.with_cutoff`
_CLEARLY = 0.02  # difference of two validation scores that is no accident
_MORE_BITS = (3.4, 5.0)


@methods.register("anchor")
class AnchorMethod(Method):
    """Learned rows. Ridge regression on them gives good heads in closed form, and needs no initial heads."""

    cites: ClassVar[tuple[str, ...]] = ("kip", "frepo")

    outer: AnyObjective = InfoNCE()
    """Loss of trained heads on real rows. The synthetic rows are learned to minimise this loss."""
    start_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weight, in [0, 1], of the loss of the trained heads stacked on initial heads; the loss of the trained heads alone
    has the remaining weight. With 0, the initial heads are not used for learning."""
    weight: Annotated[float, Field(gt=0, le=1)] | None = None
    """Weight of the heads computed from the set when they are stacked on initial heads. With 1, the result does not use
    the initial heads. If absent, the weight is chosen on validation."""
    keep_width: bool = False
    """Whether stacked heads are reduced to the output width of the initial heads."""
    cca_ridges: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.1, 0.3, 1.0)
    """Candidate ridges for the CCA that initialises the synthetic rows, relative to the mean eigenvalue of each
    covariance; chosen on validation."""
    ridges: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.01, 0.03, 0.1, 0.3, 1.0)
    """Candidates for the initial ridge of the regression from rows to anchors; chosen on validation."""
    cutoffs: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.125, 0.25, 0.5, 0.7, 1.0)
    """Candidate cutoffs, as fractions of the number of rows. Head outputs beyond the cutoff count less. A set gets a
    cutoff only if its validation score is then clearly better; if the list is empty, it never has one."""
    iterations: Annotated[int, Field(ge=0)] = 60
    """Number of iterations of Adam. With 0, the rows keep their initial values, which are in closed form."""
    learning_rate: Positive = 0.01
    """Learning rate of Adam for the rows (scaled to a root mean square of 1) and the logarithms of the ridges."""
    real_rows: Annotated[int, Field(ge=2)] = 750
    """Number of real rows per iteration; all training rows if there are fewer."""
    rate_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight, in the loss, of the estimated bits per number of the stored rows. The size of a set is fixed, so rows
    that need fewer bits are quantised with finer steps."""
    validate_every: Count = 10
    """Number of iterations between validations."""

    @property
    def may_return_fewer(self) -> bool:
        """Whether validation may choose fewer rows with more bits per number. This requires entropy-coded rows."""
        return bool(self._fewer_rows())

    @property
    def set_similarity(self) -> Similarity:
        """Target similarity of the set: the identity matrix, so each row matches only itself."""
        return FixedIdentity()

    def placeholder_recipe(self, num_modalities: int) -> Recipe:
        """Return a training recipe of kind "anchor" with placeholder values."""
        return Anchor(ridges=(1.0,) * num_modalities, weight=self.weight or 0.5, keep_width=self.keep_width)

    def most_rows(self, train: FeatureSet) -> int:
        """Return the largest useful number of synthetic rows (see `most_directions`)."""
        return most_directions(train)

    def run(self, task: Task) -> Distillation:
        """Initialise the rows in closed form, learn them, and return the set with the best validation score.

        Raises:
            InputError: the size is below 2 or above the number of training rows of the data, or the storage has more
                than one view per stored row.
        """
        started_at, train, validation = time.monotonic(), task.development.train, task.development.validation
        check_size(self.kind, self.num_stored, self.num_rows, train)
        pairing: Pairing = "groups" if train.pairing is None else "rows"
        chosen, doubtful = can_choose(validation), doubt(validation)
        outcome = "the set with the best score may just be the luckiest" if chosen else "the last set is the result"
        notes = [f"{doubtful}; {outcome}"] if doubtful else []
        notes += notes_on_size(self.num_stored, train)
        with task.progress, threads_for(self.num_rows, train.widths, task.width):
            task.progress.start(self.iterations + 1, f"learn {self.num_stored} rows")
            for line in notes:
                task.progress.note(line)
            moments = accumulate_moments(train, pairing)
            score, best, num_evaluated = self._initial_rows(moments, task, chosen)
            num_evaluated += 0 if self.weight else NUM_WEIGHTS + len(_low_weights(best))
            if best.size < self.num_stored:
                notes.append(
                    f"{best.size} rows ({best.storage.title}) instead of {self.num_stored} ({self.storage.title}), "
                    "which score clearly worse on validation before learning"
                )
                task.progress.note(notes[-1])
            task.progress.advance(1, validation=score)
            learned = learn_with_validation(
                Learning(best, train, task.start, self._learning, task.seed),
                (score, best),
                chosen,
                self.iterations,
                self.validate_every,
                lambda rows: self._score(rows, task),
                task.progress,
            )
            score, best, num_evaluated = learned.score, learned.best, num_evaluated + learned.num_evaluated
            distilled = self._as_set(best, task)
        seconds = time.monotonic() - started_at
        provenance = replace(distilled.provenance, validation=score, notes=tuple(notes))
        final = {"validation": score, "judged": float(num_evaluated), "seconds": seconds}
        records = (*learned.records, MetricsRecord(None, final, tuple(notes)))
        return Distillation(replace(distilled, provenance=provenance), seconds, records)

    @property
    def _learning(self) -> LearningSettings:
        return LearningSettings(
            self.outer, self.start_share, self.iterations, self.learning_rate, self.real_rows, self.rate_weight
        )

    def _initial_rows(self, moments: Moments, task: Task, chosen: bool) -> tuple[float, AnchorRows, int]:
        """Choose the initial rows by validation score. Return the score, the rows, and the number of candidates.

        By default, the set has the full number of rows and no cutoff, and validation chooses only the ridges. The
        alternatives are sets with fewer rows, with a cutoff (which scales down later head outputs), or with both. The
        best alternative replaces the default only if its validation score is more than 0.02 higher.

        Args:
            moments: moments of the training rows.
            task: the data and initial heads.
            chosen: whether to try the alternatives; False if validation has too few groups to compare them.
        """

        def initial(cca_ridge: float, size: int, storage: Storage) -> AnchorRows:
            return AnchorRows.closed_form(moments, size, cca_ridge, storage, task.development.train.device)

        rows = {ridge: initial(ridge, self.num_stored, self.storage) for ridge in self.cca_ridges}
        starts = {ridge: self._best_settings(each, (None,), task) for ridge, each in rows.items()}
        cca_ridge = max(starts, key=lambda each: starts[each][0])
        alternatives: list[tuple[AnchorRows, tuple[float | None, ...]]]
        alternatives = [(each, self.cutoffs) for each in rows.values() if chosen and self.cutoffs]
        for size, storage in self._fewer_rows() if chosen else ():
            alternatives.append((initial(cca_ridge, size, storage), (None, *self.cutoffs)))
        others = [self._best_settings(each, cutoffs, task) for each, cutoffs in alternatives]
        num_evaluated = len(self.ridges) * (len(starts) + sum(len(cutoffs) for _, cutoffs in alternatives))
        best, other = starts[cca_ridge], max(others, key=lambda each: each[0], default=starts[cca_ridge])
        return *(other if other[0] > best[0] + _CLEARLY else best), num_evaluated

    def _fewer_rows(self) -> list[tuple[int, Storage]]:
        """Return (size, storage) of sets that have fewer rows and more bits per number, but take no more bytes.

        Fewer rows are better if the modalities share fewer canonical directions than there are rows.
        """
        if not isinstance(self.storage, CodedStorage):
            return []
        total = self.num_stored * self.storage.bits
        bits = [each for each in _MORE_BITS if each > self.storage.bits]
        pairs = [(total / each, each) for each in bits]
        pairs += [(total / _MORE_BITS[-1] / divisor, _MORE_BITS[-1]) for divisor in (2, 4)]
        return [(int(size), self.storage.evolve(bits=bits)) for size, bits in pairs if size >= 2]

    def _best_settings(self, rows: AnchorRows, cutoffs: Sequence[float | None], task: Task) -> tuple[float, AnchorRows]:
        """Return the best validation score over all ridges and cutoffs, and a copy of the rows with the best settings.

        Heads have one output per row. Outputs beyond the cutoff are scaled down; without a cutoff, all count alike.

        Args:
            rows: the initial rows.
            cutoffs: candidate cutoffs, as fractions of the number of rows; None means no cutoff.
            task: the data and heads.
        """
        candidates = [
            rows.with_ridge(ridge).with_cutoff(None if share is None else share * rows.size)
            for ridge in self.ridges
            for share in cutoffs
        ]
        rounded = rows.storage.expand(rows.latent)  # once for all candidates
        scores = [self._score(replace(each, latent=rounded, storage=RowStorage()), task) for each in candidates]
        best = max(range(len(scores)), key=lambda each: scores[each])
        return scores[best], candidates[best]

    def _score(self, rows: AnchorRows, task: Task) -> float:
        return score_alone_and_stacked(rows, task.start, task.development.validation, self.start_share)

    def _as_set(self, rows: AnchorRows, task: Task) -> DistilledSet:
        """Return the distilled set with its recipe.

        The recipe computes heads from the set, and can stack them on initial heads: the outputs of both are weighted
        and concatenated. If the setting `weight` is None, validation chooses the weight of the computed heads.
        """
        further = _low_weights(rows)
        weight = self.weight or best_stack_weight(rows, task.start, task.development.validation, further)
        ridges = tuple(float(ridge) for ridge in rows.ridges)
        recipe = Anchor(ridges=ridges, cutoff=rows.cutoff, weight=weight, keep_width=self.keep_width)
        latent = moved({f"rows/{name}": x for name, x in rows.latent.items()}, "cpu")
        settings = self.evolve(size=rows.size, storage=rows.storage)
        return task.as_set(settings, latent).with_recipe(recipe)


def _low_weights(rows: AnchorRows) -> tuple[float, ...]:
    """Return weights below 0.5 to try for the learned heads when they are stacked on initial heads.

    Learned heads need such weights only if they have a cutoff (see `AnchorRows.with_cutoff`). Without a cutoff, the
    result is empty.
    """
    return () if rows.cutoff is None else _LOW_WEIGHTS
