"""The result of a distillation: the set (or one set per pair of modalities), the initial heads and the training log.

The result is the same whether or not the run is stored in a folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from omnidistill.core.errors import InputError
from omnidistill.distillation import Distillation, DistilledSet
from omnidistill.distillation.matching_loss import matching_loss
from omnidistill.distillation.shipped_bytes import initial_heads_bytes
from omnidistill.experiments.config import RunConfig
from omnidistill.models.heads import Heads
from omnidistill.plotting import Plottable, PlottedRun

STAGES = ("heads", "experts", "distill")


@dataclass(frozen=True, eq=False, repr=False)
class DistillResult(Plottable):
    """A finished distillation.

    Attributes:
        config: the settings of the run. If a size budget was given, they contain the number of rows that fit in it.
        parts: one distillation of all modalities, or one distillation per pair of modalities.
        start: initial heads of students, {modality: matrix of shape embedding width x feature width}.
        fingerprint: fingerprint of the data.
        training_bytes: size in bytes of the training rows as float32.
        seconds: {name of a stage: its duration}, summed over the parts.
        expert_bytes: size in bytes of the expert trajectories.
        versions: {package: version} for the packages that created the set.
        budget: the size budget, if one was given.
        location: folder of the dataset or name of a registered dataset; None if the data were only in memory.
        folder: the run folder; None if nothing was stored.
        command: the command line; empty if the run was not started from the command line.
        requested: the settings as the user requested them, with the size budget; None if they are not known.
    """

    config: RunConfig
    parts: tuple[Distillation, ...]
    start: Heads
    fingerprint: str
    training_bytes: int
    seconds: Mapping[str, float]
    expert_bytes: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    budget: str | None = None
    location: str | None = None
    folder: Path | None = None
    command: str = ""
    requested: RunConfig | None = None

    @property
    def sets(self) -> tuple[DistilledSet, ...]:
        """All sets of the result: a single set, or one set per pair of modalities."""
        return tuple(part.distilled for part in self.parts)

    @property
    def set(self) -> DistilledSet:
        """The set, if the result has only one.

        Raises:
            InputError: the result has one set per pair of modalities; use `sets`.
        """
        if len(self.parts) > 1:
            raise InputError(
                f"the result has {len(self.parts)} synthetic sets, one per pair of modalities; use result.sets instead "
                "of result.set"
            )
        return self.parts[0].distilled

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities."""
        return tuple(self.start)

    @property
    def bytes(self) -> int:
        """Total size in bytes of the files that are needed to train on the sets. Initial heads are not included."""
        return sum(distilled.bytes for distilled in self.sets)

    @property
    def choices(self) -> Mapping[str, str]:
        """Settings that were inferred from the data: {name: text with the value and the reason}."""
        return {name: reason for distilled in self.sets for name, reason in distilled.provenance.choices.items()}

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on the distillation, each a single line of text."""
        return tuple(note for distilled in self.sets for note in distilled.provenance.notes)

    def train(self, start: Heads | None = None, seed: int = 0) -> Heads:
        """Train heads on the set, and return them as {modality: matrix of shape embedding width x feature width}.

        Args:
            start: initial heads; None uses the initial heads that the set was distilled for.
            seed: seed for drawing mini-batches. It has no effect if the recipe fixes the mini-batches.

        Raises:
            InputError: the result has one set per pair of modalities, or the heads do not match the set.
        """
        return self.set.train(self.start if start is None else start, seed)

    def table(self) -> str:
        """Return a text report of the sets, matching losses, recipes, inferred settings and notes."""
        lines = []
        for part, place in zip(self.parts, self._places(), strict=True):
            distilled, provenance = part.distilled, part.distilled.provenance
            rows = f"{distilled.size} rows of {distilled.spec.storage.title}"
            lines.append(f"set      {place} ({rows}, {self._size(distilled.bytes)})")
            loss, floor = matching_loss(part), part.floor
            if loss is not None:
                bound = f" (rank floor of {len(distilled)} rows: {sum(floor.values()):.3f})" if floor else ""
                lines.append(f"matching loss {loss:.3f}{bound}")
            if provenance.validation is not None and provenance.iteration is not None:
                of = f"{provenance.iteration} of {last_iteration(part)}"
                lines.append(f"best     iteration {of}, validation score {provenance.validation:.3f}")
            elif provenance.validation is not None and (candidates := num_candidates(part)):
                score = f"validation score {provenance.validation:.3f}"
                lines.append(f"chosen   rows and recipe: the best of {candidates} candidates on validation, {score}")
            lines.append(f"recipe   {distilled.recipe.title}")
            lines += [f"chosen   {name} = {reason}" for name, reason in provenance.choices.items()]
            lines += [f"note     {line}" for line in provenance.notes]
        lines += [f"note     {line}" for line in self._rank_notes()]
        if len(self.parts) > 1:
            lines.append(f"total    {len(self.parts)} sets, {self._size(self.bytes)}")
        lines.append(f"heads    initial heads, {initial_heads_bytes(self.start):,} bytes, which training needs too")
        return "\n".join(lines)

    @property
    def plot_source(self) -> PlottedRun:
        """The sets with their training logs, from which `plot` draws curves or learned similarities."""
        return PlottedRun(self.config.method if self.folder is None else self.folder.resolve().name, self.parts)

    def to_json(self) -> dict[str, Any]:
        """Return the method, the sets, their sizes in bytes and the seconds per stage as a JSON object."""
        return {
            "output": None if self.folder is None else str(self.folder),
            "method": self.config.method,
            "sets": [_part_json(part, place) for part, place in zip(self.parts, self._places(), strict=True)],
            "notes": self._rank_notes(),
            "bytes": self.bytes,
            "initial_heads_bytes": initial_heads_bytes(self.start),
            "training_bytes": self.training_bytes,
            "seconds": dict(self.seconds),
        }

    def __repr__(self) -> str:
        sets = f"{len(self.parts)} sets of " if len(self.parts) > 1 else ""
        took = sum(self.seconds.values())
        return (
            f"DistillResult({self.config.method}: {sets}{self.sets[0].size} rows of {', '.join(self.modalities)}, "
            f"{self._size(self.bytes)}, {took:.0f} s)"
        )

    def _places(self) -> list[str]:
        """Return the folder of each set, or the modalities of each set if the sets are not stored."""
        if self.folder is None:
            return ["+".join(distilled.modalities) for distilled in self.sets]
        if self.config.joint:
            return [str(self.folder / "distilled")]
        pairs = combinations(self.modalities, 2)
        return [str(pair_folder(self.folder, pair) / "distilled") for pair in pairs]

    def _size(self, num_bytes: int) -> str:
        return f"{num_bytes:,} bytes, {100 * num_bytes / self.training_bytes:.3g} % of the training features"

    def _rank_notes(self) -> list[str]:
        """Return a note if the size budget reduced the rank of the similarity matrix, otherwise an empty list."""
        if self.requested is None:
            return []
        before, after = (
            getattr(getattr(config.distill, "similarity", None), "rank", None)
            for config in (self.requested, self.config)
        )
        if after == before:
            return []
        return [f"distill.similarity.rank reduced from {before} to {after}, the number of rows that fit the budget"]


def pair_folder(folder: Path, pair: tuple[str, str]) -> Path:
    """Return the run folder of the pair of modalities A and B: FOLDER/pairs/A~B."""
    return folder / "pairs" / "~".join(pair)


def num_candidates(part: Distillation) -> int:
    """Return how many candidates for the set and its recipe were compared on validation."""
    return sum(int(record.values.get("judged", 0)) for record in part.records)


def last_iteration(part: Distillation) -> int:
    """Return the number of outer iterations that were run; after early stopping, fewer than `distill.iterations`."""
    return max((record.iteration for record in part.records if record.iteration is not None), default=0)


def _part_json(part: Distillation, place: str) -> dict[str, Any]:
    distilled, provenance = part.distilled, part.distilled.provenance
    return {
        "path": place,
        "modalities": list(distilled.modalities),
        "rows": distilled.size,
        "bytes": distilled.bytes,
        "matching_loss": matching_loss(part),
        "iteration": provenance.iteration,
        "rank_floor": None if part.floor is None else dict(part.floor),
        "recipe": distilled.recipe.model_dump(mode="json"),
        "validation": provenance.validation,
        "candidates": num_candidates(part),
        "choices": dict(provenance.choices),
        "notes": list(provenance.notes),
    }
