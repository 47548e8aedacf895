"""Small comparisons for tests, and the parts of their tables that must not change between calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import Distillation
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.experiments.comparison import Compared, compare, plan_cells
from omnidistill.experiments.comparison.plan import BaselineCell, plan_baselines
from omnidistill.experiments.config import ComparisonConfig, has_setting, load_config
from omnidistill.methods import Method, Task, methods
from omnidistill.report.comparison_content import Comparison
from small_runs import contents, packed, small_heads

TINY = (
    "heads.width=8",
    "heads.num_epochs=2",
    "experts.num_experts=2",
    "experts.num_epochs=3",
    "experts.batch_size=16",
    "distill.iterations=4",
    "distill.num_student_steps=2",
    "distill.outer.max_start_epoch=2",
    "distill.outer.num_expert_epochs=1",
    "distill.validate_every=2",
    "distill.similarity.rank=2",
    "distill.max_steps=16",
    "distill.learning_rates=[0.3]",
    "evaluate.max_epochs=2",
    "evaluate.learning_rates=[1.0]",
    "evaluate.batch_size=16",
)
FLAGS = tuple(part for setting in TINY for part in ("--set", setting))
"""The same on the command line, for methods of which one learns its rows and one does not: no setting may be idle."""


def tiny(
    *methods: Any, sizes: Sequence[int] = (8,), seeds: Sequence[int] = (0,), settings: Sequence[str] = TINY, **more: Any
) -> ComparisonConfig:
    """Two students a set, and of the tiny settings those that a method has; `bytes` takes the place of sizes."""
    entries = [{"preset": each} if isinstance(each, str) else each for each in methods]
    if settings is TINY:
        presets = [load_config(preset=entry["preset"], overrides=entry.get("settings", ())) for entry in entries]
        settings = [each for each in TINY if any(has_setting(preset, each) for preset in presets)]
    amounts = {} if "bytes" in more else {"sizes": sizes}
    tree = {"methods": entries, **amounts, "seeds": seeds, "settings": settings, "num_students": 2, **more}
    return ComparisonConfig.model_validate_json(json.dumps(tree))


def planned(
    comparison: ComparisonConfig, data: FeatureSet, evaluate: EvaluateConfig | None = None, width: int = 8
) -> list[BaselineCell]:
    """The baselines of a comparison over these data, from heads of this width."""
    start, cells = small_heads(data, width), plan_cells(comparison, data)
    return plan_baselines(comparison, evaluate or EvaluateConfig(), cells, data, start)


def without_costs(content: Comparison | dict[str, Any]) -> dict[str, Any]:
    """The content of comparison.json without times and memory."""
    tree: dict[str, Any] = json.loads(json.dumps(content.to_json() if isinstance(content, Comparison) else content))
    for row in tree["lines"]:
        del row["seconds"], row["peak_bytes"]
    return tree


def line_of(content: Comparison | dict[str, Any], name: str) -> dict[str, Any]:
    """The one row of that name, as comparison.json has it."""
    tree = content.to_json() if isinstance(content, Comparison) else content
    (row,) = (row for row in tree["lines"] if row["name"] == name)
    return dict(row)


def results(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of writing of every file of every result in a folder of comparisons."""
    kept = (name for name in contents(folder) if "/ranking/" in name)
    return {name: ((folder / name).read_bytes(), (folder / name).stat().st_mtime_ns) for name in kept}


FEW = tiny("apm", "hopa", seeds=(0, 1), baselines=["equal-bytes"])
"""Two methods, two seeds."""


def compare_in(place: Path, comparison: ComparisonConfig, folder: Path, **settings: Any) -> Compared:
    """A comparison over a packed set, on the CPU, without showing progress."""
    return compare(place, config=comparison, folder=folder, **{"device": "cpu", "progress": False, **settings})


@dataclass(frozen=True)
class Made:
    """A packed set and a comparison over it that nothing cut."""

    data: FeatureSet
    folder: Path
    compared: Compared

    @staticmethod
    def make(folder: Path, data: FeatureSet, comparison: ComparisonConfig, **settings: Any) -> Made:
        packed(folder / "SET", data)
        return Made(data, folder, compare_in(folder / "SET", comparison, folder / "C", **settings))

    def compare(self, folder: Path, comparison: ComparisonConfig, **settings: Any) -> Compared:
        """Another one over the same set."""
        return compare_in(self.folder / "SET", comparison, folder, **settings)


class Cut:
    """A progress that is interrupted at the start, or after a step, of a stage of this name; of none by default."""

    def __init__(self, stage: str = "", after: int = 0) -> None:
        self.stage, self.after = stage, after
        self.seen, self.told = list[str](), list[tuple[Any, ...]]()

    def start(self, total: int, label: str, done: int = 0, seconds: float = 0.0) -> None:
        self.seen.append(label)
        self.told.append(("start", total, done))
        self._cut(0)

    def advance(self, n: int = 1, **fields: Any) -> None:
        self.told.append(("advance", n, fields))
        self._cut(1)

    def note(self, line: str) -> None:
        self.told.append(("note", line))

    def stop(self) -> None:
        self.told.append(("stop",))

    def __enter__(self) -> Cut:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _cut(self, after: int) -> None:
        if self.stage and self.stage in self.seen[-1] and after == self.after:
            raise KeyboardInterrupt


@contextmanager
def counted() -> Iterator[list[tuple[str, int]]]:
    """(kind, seed) of every set that is made in the block."""
    calls: list[tuple[str, int]] = []

    def noting(run: Callable[[Method, Task], Distillation]) -> Callable[[Method, Task], Distillation]:
        def noted(method: Method, task: Task) -> Distillation:
            calls.append((method.kind, task.seed))
            return run(method, task)

        return noted

    with pytest.MonkeyPatch.context() as patch:
        for kind in methods.names():
            patch.setattr(methods.get(kind), "run", noting(methods.get(kind).run))
        yield calls
