"""Code of a user: what a type checker infers for the public interface. Checked by mypy and pyright, never run."""

# pyright: standard, reportUnnecessaryTypeIgnoreComment=error

from collections.abc import Callable
from pathlib import Path
from typing import assert_type

from torch import Tensor

import omnidistill as od

# A registered class keeps its own type, and with it its settings.
assert_type(od.InfoNCE(tau=0.1), od.InfoNCE)
assert_type(od.Hopa().tau_mod, float)
assert_type(od.objectives.get("hopa"), type[od.Objective])


@od.recipes.register("patient")
class Patient(od.Recipe):
    patience: int = 3


assert_type(Patient.patience, int)


@od.methods.register("greedy")
class Greedy(od.Method):
    share: float = 0.5


assert_type(Greedy.share, float)
assert_type(od.methods.names(), tuple[str, ...])

# A name that does not exist is an error.
od.nothing  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]  # noqa: B018

# The steps from features to heads.
features = od.load_features(Path("SET"))
assert_type(features, od.FeatureSet)
result = od.distill(Path("SET"), preset="hopa")
assert_type(result.set, od.DistilledSet)
assert_type(result.set.train(result.start), dict[str, Tensor])
assert_type(od.open_run(Path("RUN")).distilled(), od.DistilledSet)
assert_type(od.Distiller(size=100).fit(features), od.Distiller)
assert_type(od.Distiller().transform({"image": [[0.0]]}), dict[str, Tensor])
embed: Callable[[dict[str, Tensor], dict[str, Tensor]], dict[str, Tensor]] = od.embed
