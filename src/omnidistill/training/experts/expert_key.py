"""What decides the bits of an expert buffer: settings, the training of every start, seed, data and heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json


@dataclass(frozen=True)
class StartTraining:
    """How experts train from one start: SGD step size, and the number of epochs."""

    learning_rate: float
    num_epochs: int


@dataclass(frozen=True)
class ExpertKey:
    """Names a training. Two buffers with equal keys hold the same bits.

    Attributes:
        config: the settings, as JSON.
        starts: the training of every start, that of the run's own heads first.
        seed: seed of every random stream.
        identity: fingerprints of "data" and "heads", if they are known.
    """

    config: Mapping[str, Json]
    starts: tuple[StartTraining, ...]
    seed: int
    identity: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the key as an artifact stores it."""
        return {
            "config": dict(self.config),
            "starts": [asdict(start) for start in self.starts],
            "seed": self.seed,
            "identity": dict(self.identity),
        }

    @staticmethod
    def from_json(tree: Mapping[str, Any], where: str) -> ExpertKey:
        """Read what `to_json` wrote.

        Raises:
            InputError: a field is missing or of another type.
        """
        try:
            starts = tuple(StartTraining(float(s["learning_rate"]), int(s["num_epochs"])) for s in tree["starts"])
            return ExpertKey(dict(tree["config"]), starts, int(tree["seed"]), dict(tree["identity"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where}: the key of the experts is damaged ({error}); train them again") from error
