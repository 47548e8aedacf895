"""The settings of `transfer`: which options to compare, and the candidates among which validation chooses."""

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
"""Options that need no further input."""

Ridges = Annotated[tuple[Positive, ...], Field(min_length=1)]


class TransferSettings(Settings):
    """Which options `transfer` compares, and the candidates among which validation of the new encoder chooses."""

    kind: Literal["transfer"] = "transfer"
    """Distinguishes presets of `transfer` from those of `compare`."""

    options: tuple[str, ...] = OPTIONS
    """Options: mixtures of items (learned, or fitted to the set), nearest items, and ridge regression between the
    encoders."""
    recipe: Literal["own", "anchor", "sgd"] = "own"
    """How heads are trained on every set: by ridge regression to anchors, by SGD, or as on the set of the run."""
    references: tuple[Literal["cca", "infonce"], ...] = ("cca", "infonce")
    """Heads that are trained on all rows of the new encoder, to compare with."""
    ridges: Ridges = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    """Candidate ridges of the recipe "anchor", in addition to those of the set."""
    learning_rates: Ridges = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    """Candidate step sizes of the recipe "sgd"."""
    max_steps: Count = 256
    """Largest candidate number of steps of the recipe "sgd"; the candidates are 8, 16, 32, ..."""
    map_ridges: Ridges = (0.001, 0.01, 0.1, 1.0)
    """Candidate ridges of the regression from one encoder to the other."""
    mixture_ridges: Ridges = (0.1, 1.0, 10.0, 100.0)
    """Candidate ridges with which mixtures are fitted to a set."""
    evaluate: EvaluateConfig = EvaluateConfig(num_seeds=3)
    """How baselines are trained, and how all rows are scored. `num_seeds` is the number of runs per baseline."""

    @field_validator("options")
    @classmethod
    def _known(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        for name in options:
            if name not in OPTIONS:
                raise ValueError(f"options: unknown option {name!r}; choose from {', '.join(OPTIONS)}")
        return options


def load_transfer(preset: str) -> TransferSettings:
    """Return the settings of a preset of the package, such as "paper-table-4".

    Raises:
        InputError: there is no such preset, or it is one of `compare`.
    """
    files = packaged_files("comparisons")
    trees = {name: read_toml(path, f"comparison {name}") for name, path in files.items()}
    known = {name: tree for name, tree in trees.items() if tree.get("kind") == "transfer"}
    if preset not in known:
        raise InputError(f"{argument('preset', preset)}: not a preset of transfer; choose from {', '.join(known)}")
    return TransferSettings.model_validate_json(json.dumps(known[preset]))
