"""Learn the rows of a migration kit, and find how many rows fit a size limit.

A kit consists of N pairs of rows, one in the old and one in the new embedding space. Ridge regression on these pairs
computes the maps between old and new embeddings. The initial rows are mixtures of training pairs, computed by ridge CCA
(`shared_rows` in `training.closed_form.pair_maps`). Learning then minimises the InfoNCE loss of both maps
(`distillation.pair_learning`). Validation chooses the ridge of CCA, the initial ridges of the maps, and the iteration
whose rows are returned.

Shapes: N rows, n training pairs, p and q widths of the old and the new space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.data.embedding_pairs import Pairs
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.distillation.budget import parse_budget
from omnidistill.distillation.pair_learning import Frame, PairLearning, PairLearningSettings, PairRows
from omnidistill.evaluation.migration_baselines import MapProblem
from omnidistill.experiments.migration.kit import planned_kit_bytes
from omnidistill.experiments.migration.migration_settings import MigrationSettings
from omnidistill.models.storages import Storage
from omnidistill.training.closed_form.pair_maps import shared_rows

FEWEST_ROWS = 2
_PER_MEAN = 3  # pairs whose mean is a row
_UNIT_TOLERANCE = 1e-2  # float16 vectors of length 1 differ from it by less


def frame_of(train: Pairs) -> tuple[Preprocessing, Frame]:
    """Return a `Preprocessing` and a `Frame`, both with the means of the old and of the new training vectors.

    The kit stores the `Preprocessing`, and maps are computed with the `Frame`. The `Frame` also records whether all old
    training vectors have length 1, and whether all new ones do.

    Raises:
        InputError: all old or all new training vectors are equal.
    """
    for name, x in (("old", train.old), ("new", train.new)):
        if bool((x == x[:1]).all()):
            raise InputError(f"{name}: all training embeddings are equal, so no map can be learned; check the array")
    means = Preprocessing.fit({"old": train.old.cpu(), "new": train.new.cpu()}, standardise=False, centre=True)
    unit = tuple(bool(((x.norm(dim=1) - 1).abs() < _UNIT_TOLERANCE).all()) for x in (train.old, train.new))
    device = train.old.device
    return means, Frame((means.means["old"].to(device), means.means["new"].to(device)), (unit[0], unit[1]))


def size_for(
    size: int | None,
    bytes: str | int | None,
    widths: Mapping[str, int],
    storage: Storage,
    means: Preprocessing,
    unit: tuple[bool, bool],
    num_train: int,
    whole: int,
) -> int:
    """Return the number of paired rows in a migration kit.

    This is `size` if it is given, otherwise the largest number for which the files of the kit fit into `bytes`. A kit
    has at least 2 rows. It has at most as many rows as there are training pairs, and at most as many as the smaller
    width.

    Args:
        size: number of rows; None if `bytes` determines it.
        bytes: largest total size of the files in bytes (200000 or "200kB") or in percent of `whole` ("1%"). None means
            "1%".
        widths: widths of the old and the new embeddings.
        storage: how the rows are stored.
        means: means of the old and the new embeddings.
        unit: whether the old embeddings have length 1, and whether the new ones do.
        num_train: number of training pairs.
        whole: size in bytes of all training pairs in float32.

    Raises:
        InputError: there are fewer than 2 training pairs, or a width below 2; both `size` and `bytes` are given; `size`
            is out of range; or `bytes` is too small.
    """
    most = min(num_train, *widths.values())
    if most < FEWEST_ROWS:
        raise InputError(
            f"embeddings: a migration kit needs at least {FEWEST_ROWS} training pairs and embedding widths of at least "
            f"{FEWEST_ROWS}, found {num_train} pairs and the widths {', '.join(map(str, widths.values()))}"
        )
    if size is not None and bytes is not None:
        raise InputError(f"{argument('size')} and {argument('bytes')}: both set the size; pass one of them")
    if size is not None:
        if not FEWEST_ROWS <= size <= most:
            raise InputError(
                f"{argument('size', size)}: a migration kit must have at least {FEWEST_ROWS} rows, and at most {most} "
                "(the number of training pairs or the smaller embedding width, whichever is less); choose a size in "
                "this range"
            )
        return size
    budget = parse_budget(str("1%" if bytes is None else bytes), whole)

    def needed(rows: int) -> int:
        return planned_kit_bytes(widths, rows, storage, means, unit)

    if needed(FEWEST_ROWS) > budget:
        raise InputError(
            f"{argument('bytes', '1%' if bytes is None else bytes)}: {budget:,} bytes are too few for a migration kit; "
            f"pass at least {needed(FEWEST_ROWS):,} bytes"
        )
    low, high = FEWEST_ROWS, most
    while low < high:  # the largest number of rows that fits
        middle = (low + high + 1) // 2
        low, high = (middle, high) if needed(middle) <= budget else (low, middle - 1)
    return low


def learn_rows(
    problem: MapProblem, size: int, settings: MigrationSettings, on_step: Callable[[float | None], None]
) -> tuple[PairRows, float]:
    """Learn the rows of a migration kit, from which maps between old and new embeddings are computed.

    Return the rows with the best validation score, and this score.

    Args:
        problem: training and validation pairs.
        size: number of rows N.
        settings: how the rows are learned and stored.
        on_step: called after every iteration, with the validation score if it was computed.
    """
    centred, moments = problem.centred, (problem.moments["forward"], problem.moments["reverse"])
    starts = []
    for cca_ridge in settings.cca_ridges:
        old, new = shared_rows(centred.old, centred.new, moments, size, cca_ridge)
        first = PairRows.start({"old": old, "new": new}, settings.ridges[0], settings.storage, problem.frame)
        starts += [first.with_ridge(ridge) for ridge in settings.ridges]
    with torch.no_grad():
        score, best = max(((problem.score(each.maps()), each) for each in starts), key=lambda entry: entry[0])
    learning = PairLearning(best, problem.train, learning_settings(settings), problem.seed)
    for iteration in range(1, settings.iterations + 1):
        learning.step()
        value = None
        if iteration % settings.validate_every == 0 or iteration == settings.iterations:
            with torch.no_grad():
                value = problem.score(learning.learned.maps())
            if value > score:
                score, best = value, learning.learned.detached()
        on_step(value)
    return best, score


def learning_settings(settings: MigrationSettings) -> PairLearningSettings:
    """Return the settings of the optimiser that learns the rows of a migration kit (see `learn_rows`)."""
    return PairLearningSettings(settings.iterations, settings.learning_rate, settings.batch_size, settings.tau)
