"""Built-in components of every role: each can be loaded, is documented, and survives being stored and pickled."""

from __future__ import annotations

import inspect
import json
import pickle
import re
from typing import Any

import pytest

from omnidistill.core.registry import ComponentRegistry
from omnidistill.core.settings import field_docs
from omnidistill.distillation.optimisers import set_optimisers
from omnidistill.distillation.outer import outer_objectives
from omnidistill.evaluation.baselines import baselines
from omnidistill.experiments.cite import works
from omnidistill.experiments.config import RunConfig
from omnidistill.methods import methods
from omnidistill.methods.learn import Learn
from omnidistill.methods.selectors import selectors
from omnidistill.models.objectives import objectives
from omnidistill.models.similarities import similarities
from omnidistill.models.storages import storages
from omnidistill.training.recipes import recipes

REGISTRIES: tuple[ComponentRegistry[Any], ...] = (
    objectives,
    similarities,
    storages,
    outer_objectives,
    methods,
    selectors,
    recipes,
    baselines,
    set_optimisers,
)
CASES = [
    pytest.param(registry, name, id=f"{registry.role}-{name}") for registry in REGISTRIES for name in registry._builtin
]
EVERY = pytest.mark.parametrize(("registry", "name"), CASES)

REQUIRED = {
    ("recipe", "sgd"): {"num_steps": 3, "step_sizes": [0.1, 0.25], "batch_size": 4},
    ("recipe", "anchor"): {"ridges": [0.1, 0.3]},
    ("recipe", "map"): {"ridges": [0.1, 0.3]},
}
"""Settings of components that have required ones."""

CHANGED: list[tuple[ComponentRegistry[Any], dict[str, Any]]] = [
    (objectives, {"kind": "pairwise-wbce", "tau": 0.5, "anchor": "text", "reduction": "plain", "epsilon": 1e-6}),
    (objectives, {"kind": "infonce", "anchor": 1}),
    (objectives, {"kind": "hopa", "lambda_ins": 0, "proxy_rank": 2, "modality_term": "none"}),
    (similarities, {"kind": "low-rank", "rank": 3, "alpha": 2.0}),
    (storages, {"kind": "rows", "bits": 3, "views": "auto"}),
    (storages, {"kind": "rows", "views": 4}),
    (outer_objectives, {"kind": "shortcut", "task_weight": 0.5, "task": {"kind": "task", "rows": 9}}),
    (set_optimisers, {"kind": "sgd", "rows": 1e-3, "momentum": 0}),
    (recipes, {"kind": "sgd", "num_steps": 0, "step_sizes": [1e-9], "batch_size": 1, "order": 5, "momentum": 0.9}),
    (methods, {"kind": "learn", "size": "64kB", "student": "infonce", "outer": "task", "clip_norm": 1.5}),
    (methods, {"kind": "select", "selector": {"kind": "aligned-k-medoids", "dropped": 0.5}, "learning_rates": [1.0]}),
    (methods, {"kind": "apm", "ridges": [0.1, 2.0], "storage": {"kind": "rows", "bits": 4}}),
    (baselines, {"kind": "full-own", "objective": {"kind": "hopa", "tau_ins": 0.3}}),
    (baselines, {"kind": "low-rank", "learning_rates": [0.01]}),
]
"""Components with settings that differ from their defaults."""


def build(registry: ComponentRegistry[Any], name: str) -> Any:
    return registry.build({"kind": name, **REQUIRED.get((registry.role, name), {})})


@EVERY
def test_a_name_gives_a_built_in_component(registry: ComponentRegistry[Any], name: str) -> None:
    component = build(registry, name)
    assert isinstance(component, registry.base)
    assert (component.kind, component.package) == (name, None)
    assert registry.package(name) is None
    if (registry.role, name) not in REQUIRED:
        assert registry.build(name) == component == registry.get(name)()


@EVERY
def test_a_component_and_each_setting_is_documented(registry: ComponentRegistry[Any], name: str) -> None:
    component = registry.get(name)
    summary = (component.__dict__.get("__doc__") or "").strip().partition("\n")[0]
    assert re.fullmatch(r"([A-Z]|k-|wBCE).{5,}\.", summary), summary
    assert registry.list()[name] == summary
    assert inspect.getdoc(inspect.getmodule(component))
    docs = field_docs(component)
    for setting in component.model_fields:
        assert docs.get(setting), f"{name}.{setting} has no documentation"
        assert docs[setting].endswith("."), f"{name}.{setting}: {docs[setting]}"


@EVERY
def test_cited_works_are_known(registry: ComponentRegistry[Any], name: str) -> None:
    component = build(registry, name)
    assert set(component.cites) <= set(component.citations())
    for key in component.citations():
        assert key in works() or key.lstrip().startswith("@"), key


def stored(component: Any) -> Any:
    """Return the JSON of a component, as a file has it."""
    return json.loads(json.dumps(component.model_dump(mode="json")))


@EVERY
def test_what_is_stored_builds_the_same_component(registry: ComponentRegistry[Any], name: str) -> None:
    component = build(registry, name)
    assert list(component.to_json()) == ["kind", *type(component).model_fields]
    assert list(stored(component)) == [
        "kind",
        *(name for name in type(component).model_fields if name not in component.added),
    ]
    for again in (registry.build(stored(component)), registry.build(component.model_dump())):
        assert type(again) is type(component)
        assert again == component
        assert hash(again) == hash(component)


@pytest.mark.parametrize(
    ("registry", "spec"), CHANGED, ids=lambda value: json.dumps(value) if isinstance(value, dict) else value.role
)
def test_changed_settings_are_stored_too(registry: ComponentRegistry[Any], spec: dict[str, Any]) -> None:
    component = registry.build(spec)
    assert component != build(registry, spec["kind"])
    again = registry.build(stored(component))
    assert again == component
    assert stored(again) == stored(component)
    assert pickle.loads(pickle.dumps(component)) == component


def test_settings_of_later_versions_are_stored_only_if_they_are_changed() -> None:
    """So digests and identities of artifacts of version 0.1 stay equal; `config` prints all settings."""
    plain, changed = objectives.build("pairwise-wbce"), objectives.build({"kind": "pairwise-wbce", "epsilon": 1e-6})
    assert "epsilon" not in stored(plain)
    assert plain.to_json() == {**stored(plain), "epsilon": 0.0}
    assert stored(changed) == {**stored(plain), "epsilon": 1e-6}
    nested = RunConfig(distill=Learn(student=changed))
    assert nested.model_dump(mode="json")["distill"]["student"] == stored(changed)
    assert nested.to_json()["experts"]["objective"]["epsilon"] == 0.0


@EVERY
def test_components_can_be_pickled(registry: ComponentRegistry[Any], name: str) -> None:
    component = build(registry, name)
    copy = pickle.loads(pickle.dumps(component))
    assert copy == component
    assert (type(copy), copy.kind) == (type(component), name)
