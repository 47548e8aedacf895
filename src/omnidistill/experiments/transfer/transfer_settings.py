"""Settings of `transfer`, which compares ways to use a distilled set with a new encoder.

The settings say which ways are compared. They also contain the candidate values, such as ridges and step sizes, from
which validation chooses.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import Field, field_validator

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.core.settings import Count, Positive, Settings
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.experiments.config.toml_files import packaged_files, read_toml

OPTIONS = ("mixture", "nearest", "map")
"""Ways to use a set with another encoder that need no files other than the set and the new data."""

Ridges = Annotated[tuple[Positive, ...], Field(min_length=1)]


class TransferSettings(Settings):
    """Settings of `transfer`: the compared ways to use a set with a new encoder, and their candidate values."""

    kind: Literal["transfer"] = "transfer"
    """Marks a TOML file as the settings of `transfer`, not of another comparison."""

    options: tuple[str, ...] = OPTIONS
    """Ways to use the set with another encoder: "mixture" (rows are mixtures of items, learned or fitted to the set),
    "nearest" (rows are the nearest items), and "map" (ridge regression from the old to the new encoder)."""
    recipe: Literal["own", "anchor", "sgd"] = "own"
    """How heads are trained on every set: "anchor" (ridge regression to anchors), "sgd", or "own" (the recipe of the
    run's set)."""
    references: tuple[Literal["cca", "infonce"], ...] = ("cca", "infonce")
    """Heads that are trained on all rows of the new encoder, to compare with."""
    ridges: Ridges = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    """Candidate ridges for training with the recipe "anchor"; the ridges stored in the set are candidates, too. Chosen
    on validation."""
    learning_rates: Ridges = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    """Candidate step sizes for training with the recipe "sgd"; chosen on validation."""
    max_steps: Count = 256
    """Largest candidate for the number of steps of the recipe "sgd". The candidates are 8, 16, 32, ..."""
    map_ridges: Ridges = (0.001, 0.01, 0.1, 1.0)
    """Candidate ridges for the regression from the old to the new encoder; chosen on validation."""
    mixture_ridges: Ridges = (0.1, 1.0, 10.0, 100.0)
    """Candidate ridges for fitting mixtures of items to the rows of a set; chosen on validation."""
    evaluate: EvaluateConfig = EvaluateConfig(num_seeds=3)
    """How baselines are trained, and how all rows of the table are scored. `num_seeds` is the number of runs per
    baseline."""

    @field_validator("options")
    @classmethod
    def _known(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        for name in options:
            if name not in OPTIONS:
                raise ValueError(f"options contains the unknown name {name!r}; choose from {', '.join(OPTIONS)}")
        return options


def load_transfer(preset: str) -> TransferSettings:
    """Return the settings of a built-in preset of `transfer`, such as "paper-table-4".

    Raises:
        InputError: the preset does not exist, or it is a preset of `compare`.
    """
    files = packaged_files("comparisons")
    trees = {name: read_toml(path, f"comparison {name}") for name, path in files.items()}
    known = {name: tree for name, tree in trees.items() if tree.get("kind") == "transfer"}
    if preset not in known:
        raise InputError(f"{argument('preset', preset)}: not a preset of transfer; choose from {', '.join(known)}")
    return TransferSettings.model_validate_json(json.dumps(known[preset]))
