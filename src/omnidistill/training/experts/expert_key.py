"""Key of an expert buffer: the settings, seed, data and initial heads that together determine its content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json


@dataclass(frozen=True)
class StartTraining:
    """Step size of SGD and number of epochs for experts that start from the same initial heads."""

    learning_rate: float
    num_epochs: int


@dataclass(frozen=True)
class ExpertKey:
    """Identifies an expert buffer, i.e. stored expert trajectories. Buffers with equal keys are bitwise equal.

    Attributes:
        config: the settings of the experts, as JSON.
        starts: step size and number of epochs, with one entry for each choice of initial heads. The first entry
            belongs to the initial heads of the run.
        seed: seed for the random streams.
        identity: fingerprints of the data (key "data") and of the initial heads (key "heads"), if they are known.
    """

    config: Mapping[str, Json]
    starts: tuple[StartTraining, ...]
    seed: int
    identity: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the key of the expert buffer (its settings, seed and inputs) as JSON values."""
        return {
            "config": dict(self.config),
            "starts": [asdict(start) for start in self.starts],
            "seed": self.seed,
            "identity": dict(self.identity),
        }

    @staticmethod
    def from_json(tree: Mapping[str, Any], where: str) -> ExpertKey:
        """Restore a key from the result of `to_json`. Error messages begin with `where`.

        Raises:
            InputError: a field is missing or has the wrong type.
        """
        try:
            starts = tuple(StartTraining(float(s["learning_rate"]), int(s["num_epochs"])) for s in tree["starts"])
            return ExpertKey(dict(tree["config"]), starts, int(tree["seed"]), dict(tree["identity"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{where}: the stored settings of the expert trajectories are damaged ({error}); delete them, and "
                "train the experts again"
            ) from error
