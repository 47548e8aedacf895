"""Baselines for a migration kit: other linear maps between the embedding spaces of an old and a new encoder.

A kit consists of N learned pairs of rows, from which ridge regression computes a map in each direction: forward (from
the old to the new space) and reverse. The baselines are

    ridge, all pairs           ridge regression on all training pairs
    Procrustes, all pairs      the orthogonal map fitted to all training pairs
    random pairs               ridge regression on N random training pairs; mean recall of 3 draws
    reduced rank               the best low-rank approximation of "ridge, all pairs"
    InfoNCE, low rank          low-rank maps, learned with the loss and the rounding of the kit

Validation chooses the ridges and the number of iterations, as it does for the kit.

Low-rank maps take at most as many bytes as the kit. They have two variants. With "both ways", the maps of both
directions together fit into these bytes. With "one way", only the forward map is stored, so its rank can be higher.

Shapes: n pairs, p and q widths of the old and the new space, r rank.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.device import float64_device
from omnidistill.core.streams import Streams
from omnidistill.data.embedding_pairs import Pairs
from omnidistill.distillation.pair_learning import (
    Direction,
    FactoredMaps,
    Frame,
    Maps,
    PairLearning,
    PairLearningSettings,
    row_maps,
)
from omnidistill.evaluation.migration_scores import Recalls, mean_recall, recalls_of
from omnidistill.io.artifacts import artifact_bytes
from omnidistill.models.affine_map import AffineMap
from omnidistill.models.storages import Storage
from omnidistill.training.closed_form.pair_maps import PairMoments

RIDGES = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)
"""Candidate ridges of the regression on all pairs and on random pairs."""

DIRECTIONS: tuple[Direction, Direction] = ("forward", "reverse")
VALIDATE_EVERY = 10
"""Iterations between validations of learned maps."""

_NUM_DRAWS = 3


@dataclass(frozen=True, eq=False)
class MapCandidate:
    """A row of the migration table: the maps of the kit or of a baseline between two embedding spaces.

    Attributes:
        name: name of the table row.
        draws: the maps, with one entry for each random sample of training pairs from which maps were computed. Scores
            are averaged over the entries. There is a single entry if the maps do not come from random samples.
        bytes: size of the files that store the maps; None if it is not defined.
        size: number of rows, or rank of low-rank maps; None for dense maps.
        seconds: time to compute the maps.
    """

    name: str
    draws: Sequence[Maps]
    bytes: int | None
    size: int | None
    seconds: float


@dataclass(frozen=True, eq=False)
class MapProblem:
    """The data for maps between two embedding spaces: pairs of old and new embeddings of the same items.

    Attributes:
        train: pairs, not centred, to which maps are fitted.
        validation: pairs, not centred, on which the settings of maps are chosen.
        frame: mean vectors of both spaces, and whether their vectors have length 1.
        seed: seed of all random draws.
    """

    train: Pairs
    validation: Pairs
    frame: Frame
    seed: int

    def score(self, maps: Maps) -> float:
        """Return the validation score of maps: the mean recall over directions, search tasks and cut-offs K."""
        return sum(mean_recall(self.scores(maps, direction)) for direction in maps) / len(maps)

    def scores(self, maps: Maps, direction: Direction) -> Recalls:
        """Return the recall of the map in one direction on validation, for each search task and cut-off."""
        return recalls_of(maps[direction], oriented(self.validation, direction), self.seed)

    @cached_property
    def centred(self) -> Pairs:
        """The training pairs, minus the mean vector of each space."""
        return self.train.centred(*self.frame.means)

    @cached_property
    def moments(self) -> dict[Direction, PairMoments]:
        """Second moments of the centred training pairs for both directions of the map: old to new, and new to old."""
        pairs = {each: oriented(self.centred, each) for each in DIRECTIONS}
        return {each: PairMoments.of(x.old, x.new) for each, x in pairs.items()}


def oriented(pairs: Pairs, direction: Direction) -> Pairs:
    """Return pairs whose `old` is the source of the direction and whose `new` is its target."""
    return pairs if direction == "forward" else pairs.reversed()


class AllPairs:
    """Linear maps between two embedding spaces, fitted to all training pairs in closed form.

    Attributes:
        problem: training and validation pairs.
        ridges: ridge for each direction, chosen on validation.
        matrices: matrix of the ridge regression in each direction (float64).
        seconds: time to compute the ridge regressions.
    """

    def __init__(self, problem: MapProblem) -> None:
        started_at = time.monotonic()
        self.problem = problem
        self._moments = problem.moments
        self.ridges: dict[Direction, float] = {}
        self.matrices: dict[Direction, Float[Tensor, "_ _"]] = {}
        for each in DIRECTIONS:
            candidates = [(ridge, self._moments[each].ridge_map(ridge)) for ridge in RIDGES]
            scored = [(mean_recall(problem.scores({each: self._dense(each, m)}, each)), r, m) for r, m in candidates]
            _, self.ridges[each], self.matrices[each] = max(scored, key=lambda entry: entry[0])
        self.seconds = time.monotonic() - started_at

    def ridge(self) -> MapCandidate:
        """Return the maps of both directions from ridge regression on all training pairs."""
        maps: Maps = {each: self._dense(each, matrix) for each, matrix in self.matrices.items()}
        numbers = 2 * next(iter(self.matrices.values())).numel() + self._mean_numbers
        return MapCandidate("ridge, all pairs", [maps], 4 * numbers, None, self.seconds)

    def procrustes(self) -> MapCandidate:
        """Return the orthogonal map from old to new embeddings, fitted to all training pairs (Procrustes).

        The map from new to old embeddings is its transpose.
        """
        started_at = time.monotonic()
        matrix = self._moments["forward"].procrustes_map()
        maps: Maps = {"forward": self._dense("forward", matrix), "reverse": self._dense("reverse", matrix.mT)}
        numbers = matrix.numel() + self._mean_numbers
        return MapCandidate("Procrustes, all pairs", [maps], 4 * numbers, None, time.monotonic() - started_at)

    def factors(self, direction: Direction, rank: int) -> tuple[Float[Tensor, "r _"], Float[Tensor, "r _"]]:
        """Return factors L and R such that L^T R is the best map of this rank in this direction, in float32."""
        matrix = self.matrices[direction]
        basis = self._moments[direction].leading_outputs(matrix, rank)
        like = self.problem.train.old
        return (matrix @ basis).mT.contiguous().to(like), basis.mT.contiguous().to(like)

    @property
    def most_rank(self) -> int:
        """Largest possible rank of a map: the smaller width of the two spaces."""
        return min(self.matrices["forward"].shape)

    def _dense(self, direction: Direction, matrix: Tensor) -> AffineMap:
        return self.problem.frame.map(direction, None, matrix.to(self.problem.train.old))

    @property
    def _mean_numbers(self) -> int:
        return sum(len(mean) for mean in self.problem.frame.means)


def random_pairs(problem: MapProblem, size: int) -> MapCandidate:
    """Return maps that ridge regression computes from `size` random training pairs.

    Several samples of pairs are drawn, and each gives its own maps. The ridges of each sample are chosen on validation.
    """
    started_at, draws = time.monotonic(), []
    train, generator = problem.train, Streams(problem.seed)["migration/random pairs"]
    for _ in range(_NUM_DRAWS):
        numbers = torch.randperm(len(train), generator=generator, device="cpu")[:size]
        drawn = train.select(numbers).centred(*problem.frame.means)
        old, new = (x.to(float64_device(x.device), torch.float64) for x in (drawn.old, drawn.new))
        solved = [
            row_maps(old, new, torch.full((2,), ridge, device=old.device, dtype=old.dtype), problem.frame)
            for ridge in RIDGES
        ]
        candidates = [{each: maps[each].to(train.old) for each in DIRECTIONS} for maps in solved]
        best: Maps = {
            each: max((maps[each] for maps in candidates), key=lambda m: mean_recall(problem.scores({each: m}, each)))
            for each in DIRECTIONS
        }
        draws.append(best)
    numbers_stored = sum(x.numel() for x in (drawn.old, drawn.new)) + sum(len(mean) for mean in problem.frame.means)
    return MapCandidate("random pairs", draws, 4 * numbers_stored, size, time.monotonic() - started_at)


def low_rank_maps(
    fitted: AllPairs,
    storages: Mapping[str, Storage],
    budget: int,
    other_tensors: Mapping[str, Tensor],
    learning: PairLearningSettings | None,
    on_step: Callable[[], None],
) -> Iterator[MapCandidate]:
    """Yield low-rank maps whose files are not larger than those of a migration kit.

    For each storage format, there are two candidates: the maps in both directions, and the forward map alone. Within
    the same bytes, the forward map alone can have a higher rank. A candidate is omitted if not even rank 1 fits.

    Args:
        fitted: the maps fitted to all training pairs.
        storages: storage formats to try for the factors of the maps, by name.
        budget: size of the kit in bytes.
        other_tensors: tensors of the kit other than its rows. The files of a low-rank map contain them as well.
        learning: settings to learn the factors by InfoNCE; with None, the maps come from reduced-rank regression.
        on_step: called after every iteration of the learning.
    """
    method = "reduced rank" if learning is None else "InfoNCE, low rank"
    for storage_name, storage in storages.items():
        for ways, directions in {"both ways": DIRECTIONS, "one way": DIRECTIONS[:1]}.items():
            started_at = time.monotonic()
            rank, num_bytes = _rank(fitted, storage, directions, budget, other_tensors)
            if rank == 0:
                continue
            factors = {each: fitted.factors(each, rank) for each in directions}
            first = FactoredMaps.start(factors, storage, fitted.problem.frame)
            best = first if learning is None else _learned(first, fitted.problem, learning, on_step)
            with torch.no_grad():
                maps = best.maps()
            name = f"{method}, {storage_name}, {ways}"
            yield MapCandidate(name, [maps], num_bytes, rank, time.monotonic() - started_at)


def _learned(
    first: FactoredMaps, problem: MapProblem, settings: PairLearningSettings, on_step: Callable[[], None]
) -> FactoredMaps:
    learning = PairLearning(first, problem.train, settings, problem.seed)
    with torch.no_grad():
        score, best = problem.score(first.maps()), first
    for iteration in range(1, settings.iterations + 1):
        learning.step()
        on_step()
        if iteration % VALIDATE_EVERY == 0 or iteration == settings.iterations:
            with torch.no_grad():
                value = problem.score(learning.learned.maps())
            if value > score:
                score, best = value, learning.learned.detached()
    return best


def _rank(
    fitted: AllPairs,
    storage: Storage,
    directions: Sequence[Direction],
    budget: int,
    other_tensors: Mapping[str, Tensor],
) -> tuple[int, int]:
    """Return the largest rank of maps that fit into the budget, and the size of their files in bytes."""
    widths: dict[str, int] = {}
    for each in directions:
        source, target = fitted.matrices[each].shape
        widths |= {f"{each}-left": source, f"{each}-right": target}

    def size(rank: int) -> int:
        meta = {"storage": storage.model_dump(mode="json"), "rank": rank}
        return artifact_bytes("map", {**storage.empty(widths, rank), **other_tensors}, meta)

    low, high = 0, fitted.most_rank
    while low < high:  # the largest rank that fits
        middle = (low + high + 1) // 2
        low, high = (middle, high) if size(middle) <= budget else (low, middle - 1)
    return low, size(low) if low else 0
