"""The presets that ship: data only, described in a line, and the settings that the papers and their scripts state."""

from __future__ import annotations

import math
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from omnidistill.distillation.optimisers import AdamOptimiser, SgdOptimiser
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.experiments.config import RunConfig, describe_presets, load_config, preset_names
from omnidistill.methods.apm import Apm
from omnidistill.methods.covmatch import CovMatch
from omnidistill.methods.learn import Learn
from omnidistill.methods.select import Select
from omnidistill.methods.selectors.selector import selectors
from omnidistill.models.objectives import Hopa, InfoNCE, PairwiseWbce
from omnidistill.models.similarities import Diagonal, FixedIdentity, Full, LowRank

FOLDER = Path(str(resources.files("omnidistill") / "presets"))
NAMES = preset_names()
OURS = [name for name in NAMES if "/" not in name]
PAPER = [name for name in NAMES if "/" in name]


def text_of(name: str) -> str:
    return (FOLDER / f"{name}.toml").read_text("utf-8")


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted key."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def settings(name: str) -> dict[str, Any]:
    return leaves(load_config(preset=name).model_dump())


def trajectory(name: str) -> Learn:
    found = load_config(preset=name).distill
    assert isinstance(found, Learn)
    return found


# What every preset is.


def test_the_folder_holds_presets_and_nothing_else() -> None:
    files = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    assert files == {f"{name}.toml" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_it_is_data_that_loads(name: str) -> None:
    tree = tomllib.loads(text_of(name))
    for value in leaves(tree).values():
        assert all(type(item) in (str, bool, int, float) for item in (value if isinstance(value, list) else [value]))
    assert isinstance(load_config(preset=name), RunConfig)
    assert len(text_of(name).splitlines()) < 40


@pytest.mark.parametrize("name", NAMES)
def test_comments_first_describe_then_cite(name: str) -> None:
    comment = [line for line in text_of(name).splitlines() if line.startswith("#")]
    assert text_of(name).startswith("\n".join(comment)), "comments come first"
    assert describe_presets()[name] == comment[0].removeprefix("# ")
    assert 10 < len(describe_presets()[name]) <= 100
    assert max(map(len, comment)) <= 120
    if name not in ("smoke", "random", "group-means"):
        assert any("arXiv" in line or "ICML" in line or "ICLR" in line or "1978" in line for line in comment)


def test_no_two_presets_are_described_alike() -> None:
    assert len(set(describe_presets().values())) == len(NAMES)


def test_tables_tell_methods_apart() -> None:
    labels = [load_config(preset=name).method for name in OURS]
    assert len(set(labels)) == len(labels)
    assert max(map(len, labels)) <= 24


@pytest.mark.parametrize("name", [name for name in NAMES if "extends = " in text_of(name)])
def test_one_that_extends_holds_only_what_differs(name: str) -> None:
    tree = tomllib.loads(text_of(name))
    base = settings(tree.pop("extends"))
    found = leaves(tree)
    other = tuple(
        key.removesuffix("kind") for key, kind in found.items() if key.endswith(".kind") and base[key] != kind
    )
    for key, value in found.items():
        if other and key.startswith(other):
            continue  # another kind has other settings, so all of them are given
        assert base.get(key) != value, f"{key} repeats its base"


@pytest.mark.parametrize("name", [name for name in NAMES if load_config(preset=name).distill.has_iterations])
def test_validation_is_regular_and_rare(name: str) -> None:
    found = trajectory(name)
    assert found.iterations % found.validate_every == 0
    assert 2 <= found.iterations // found.validate_every <= 16


# What makes each of ours the method it is. Typed here, not derived.

BOTH = ("distill.student.", "experts.objective.")
METHODS: dict[str, dict[str, Any]] = {
    "hopa": {"distill.student.kind": "hopa", "experts.objective.kind": "hopa", "distill.similarity.kind": "low-rank"},
    "anchor": {
        "distill.kind": "anchor",
        "distill.storage.bits": 32,
        "distill.start_share": 0.5,
        "distill.weight": None,
    },
    "anchor-coded": {"distill.kind": "anchor", "distill.storage.kind": "coded"},
    "anchor-alone": {"distill.start_share": 0.0, "distill.weight": 1.0, "distill.storage.kind": "coded"},
    "recommended": {
        "experts.objective.kind": "infonce",
        "experts.learning_rate": None,
        "experts.num_epochs": None,
        "distill.student.kind": "infonce",
        "distill.order": "fixed",
        "distill.similarity.kind": "identity",
        "distill.outer.num_expert_epochs": None,
        "distill.initial_step_size": None,
        "distill.storage.views": "auto",
        "distill.storage.bits": 32,
        "joint": True,
    },
    "compact": {"distill.storage.views": "auto", "distill.storage.bits": 4, "distill.order": "fixed"},
    "portable": {
        "experts.num_experts": 8,
        "experts.num_starts": 5,
        "experts.random_starts": 2,
        "distill.outer.own_share": 0.4,
        "distill.iterations": 600,
        "distill.storage.bits": 4,
    },
    "hopa-no-similarity": {"distill.similarity.kind": "identity"},
    "hopa-no-ins": {f"{where}lambda_ins": 0.0 for where in BOTH},
    "hopa-no-mod": {f"{where}modality_term": "none" for where in BOTH},
    "hopa-rank-2": {f"{where}proxy_rank": 2 for where in BOTH},
    "hopa-single-mode": {f"{where}modality_term": "single" for where in BOTH},
    "hopa-infonce-experts": {
        "experts.objective.kind": "infonce",
        "experts.learning_rate": 0.1,
        "distill.student.kind": "hopa",
        "distill.initial_step_size": 3.0,
    },
    "hopa-infonce-instance": {f"{where}instance_term": "infonce" for where in BOTH},
    "hopa-tesla": {"distill.rollout": "tesla"},
    "hopa-full-similarity": {"distill.similarity.kind": "full"},
    "lowrank-wbce": {
        "distill.student.kind": "pairwise-wbce",
        "experts.objective.kind": "infonce",
        "distill.similarity.kind": "low-rank",
        "distill.rollout": "auto",
        "distill.blend": False,
        "joint": True,
    },
    "three-pair": {
        f"{where}{key}": value for where in BOTH for key, value in (("kind", "pairwise-wbce"), ("anchor", None))
    },
    "bind": {
        f"{where}{key}": value for where in BOTH for key, value in (("kind", "pairwise-wbce"), ("anchor", "text"))
    },
    "mixture": {"distill.kind": "mixture", "distill.weight_bits": 6, "distill.iterations": 140},
    "mtt": {
        "distill.student.kind": "infonce",
        "experts.objective.kind": "infonce",
        "distill.similarity.kind": "identity",
        "distill.rollout": "bptt",
        "joint": True,
    },
    "tesla": {
        "distill.student.kind": "infonce",
        "distill.similarity.kind": "identity",
        "distill.rollout": "tesla",
        "joint": True,
    },
    "lors": {
        "distill.student.kind": "pairwise-wbce",
        "distill.student.reduction": "mean",
        "experts.objective.kind": "infonce",
        "distill.similarity.kind": "low-rank",
        "distill.rollout": "tesla",
        "distill.blend": False,
        "joint": True,
    },
    "repblend": {
        "distill.blend": True,
        "distill.student.kind": "pairwise-wbce",
        "distill.rollout": "tesla",
        "joint": True,
    },
    "mtt-separate": {"joint": False, "distill.rollout": "bptt", "distill.student.kind": "infonce"},
    "tesla-separate": {"joint": False, "distill.rollout": "tesla", "distill.student.kind": "infonce"},
    "lors-separate": {"joint": False, "distill.student.kind": "pairwise-wbce", "distill.blend": False},
    "repblend-separate": {"joint": False, "distill.student.kind": "pairwise-wbce", "distill.blend": True},
    "lors-full": {"distill.similarity.kind": "full", "distill.student.kind": "pairwise-wbce"},
    "lors-diagonal": {"distill.similarity.kind": "diagonal", "distill.student.kind": "pairwise-wbce"},
    "lors-bce": {"distill.student.reduction": "plain", "distill.similarity.kind": "low-rank"},
    "lors-infonce": {"distill.student.kind": "infonce", "distill.similarity.kind": "low-rank"},
    "shortcut": {"distill.outer.kind": "shortcut", "distill.average": 0.99, "distill.similarity.kind": "full"},
    "whole-run": {
        "experts.objective.kind": "infonce",
        "experts.num_epochs": 30,
        "distill.student.kind": "infonce",
        "distill.outer.num_expert_epochs": 30,
        "distill.outer.max_start_epoch": 1,
        "distill.rollout": "auto",
    },
    "task": {"distill.outer.kind": "task", "distill.student.kind": "infonce", "distill.similarity.kind": "low-rank"},
    "covmatch": {"distill.kind": "covmatch", "distill.weights": "uniform"},
    "covmatch-errors": {"distill.kind": "covmatch", "distill.weights": "errors"},
    "apm": {"distill.kind": "apm"},
    "smoke": {"distill.size": 10, "distill.iterations": 6},
}
SELECTORS = (
    "random",
    "herding",
    "k-center",
    "k-medoids",
    "facility-location",
    "agreement",
    "aligned-k-medoids",
    "el2n",
    "grand",
    "forgetting",
    "craig",
    "prototypes",
    "group-means",
)


def test_every_preset_of_ours_is_checked() -> None:
    assert sorted([*METHODS, *SELECTORS]) == OURS


@pytest.mark.parametrize("name", METHODS)
def test_what_distinguishes_a_method(name: str) -> None:
    found = settings(name)
    assert {key: found[key] for key in METHODS[name]} == METHODS[name]


@pytest.mark.parametrize("name", SELECTORS)
def test_coresets_are_named_by_their_selector(name: str) -> None:
    found = load_config(preset=name).distill
    assert found == Select(selector=selectors.build(name))


def test_every_selector_has_a_preset() -> None:
    assert selectors.names() == SELECTORS


def test_closed_forms_have_the_measured_settings() -> None:
    assert load_config(preset="covmatch").distill == CovMatch()
    assert load_config(preset="apm").distill == Apm()


def test_ways_that_read_an_expert_have_one_by_infonce() -> None:
    for name in ("forgetting", "covmatch-errors"):
        experts = load_config(preset=name).experts
        assert (experts.num_experts, experts.learning_rate) == (1, 0.1)
        assert experts.objective == InfoNCE()
    for name in {*SELECTORS, "covmatch", "apm"} - {"forgetting"}:
        assert load_config(preset=name).experts == RunConfig().experts


def test_rivals_have_one_budget_and_steps_that_fit_their_loss() -> None:
    """The gradients of InfoNCE and plain BCE are larger than wBCE's: their students start with smaller steps."""
    wbce = ("lowrank-wbce", "lors", "repblend", "lors-full", "lors-diagonal", "shortcut")
    steeper = ("mtt", "tesla", "lors-infonce", "lors-bce")
    for name in (*wbce, *steeper, *(f"{name}-separate" for name in ("mtt", "tesla", "lors", "repblend"))):
        found = trajectory(name)
        assert (found.size, found.batch, found.iterations, found.num_student_steps) == (100, 25, 500, 16)
        assert found.optimiser == AdamOptimiser(rows=0.05, similarity=0.02, step_sizes=0.01)
        assert load_config(preset=name).experts == load_config(preset="lors").experts
    assert {trajectory(name).initial_step_size for name in wbce} == {1.0}
    assert {trajectory(name).initial_step_size for name in steeper} == {0.3}


# What the papers state.

HOPA = {  # set-N: (rank, alpha, rate of the similarity, iterations, starts)
    "msrvtt-100": (10, 1.0, 10.0, 2000, 5),
    "msrvtt-200": (20, 0.5, 10.0, 2000, 5),
    "msrvtt-500": (20, 0.01, 100.0, 3000, 7),
    "vggsound-100": (10, 1.0, 10.0, 2000, 5),
    "vggsound-200": (20, 1.0, 10.0, 2000, 5),
    "vggsound-500": (40, 0.1, 100.0, 3000, 7),
    "didemo-100": (10, 1.0, 10.0, 2000, 5),
    "didemo-200": (20, 0.5, 10.0, 2000, 5),
    "didemo-500": (20, 0.05, 100.0, 3000, 7),
}
LORS = {  # script: (N, rate of the rows, of the similarity, rank, alpha, b, starts, tau, iterations)
    "flickr-100": (99, 100.0, 10.0, 10, 3.0, 20, 2, 0.07, 3000),
    "flickr-200": (199, 1000.0, 10.0, 5, 1.0, 20, 2, 0.07, 3000),
    "flickr-500": (499, 1000.0, 100.0, 20, 0.01, 40, 3, 0.07, 3000),
    "coco-100": (99, 1000.0, 5.0, 10, 1.0, 20, 2, 0.07, 3000),
    "coco-200": (199, 1000.0, 50.0, 20, 1.0, 20, 2, 0.07, 2000),
    "coco-500": (499, 5000.0, 500.0, 40, 1.0, 30, 2, 0.1, 3000),
}


def check(name: str, expected: BaseModel | dict[str, Any], section: str) -> None:
    found = {key.removeprefix(section): value for key, value in settings(name).items() if key.startswith(section)}
    want = leaves(expected.model_dump() if isinstance(expected, BaseModel) else expected)
    assert {key: found[key] for key in want} == want


def check_experts(name: str, learning_rate: float) -> None:
    runs = {"num_experts": 20, "num_epochs": 10, "batch_size": 128, "learning_rate": learning_rate}
    check(name, runs, "experts.")


def test_every_published_setting_is_checked() -> None:
    hopa = [f"paper/hopa-{name}{reading}" for name in HOPA for reading in ("", "-b")]
    pairs = [f"paper/{method}-{name}" for name in LORS for method in ("lors", "repblend")]
    assert sorted([*hopa, *pairs, "paper/mtt-vl-100"]) == PAPER


@pytest.mark.parametrize("reading", ["", "-b"])
@pytest.mark.parametrize("name", HOPA)
def test_published_settings_of_hopa(name: str, reading: str) -> None:
    rank, alpha, similarity, iterations, starts = HOPA[name]
    preset = f"paper/hopa-{name}{reading}"
    tau_ins, lambda_ins = (0.1, 0.2) if reading else (0.2, 1.0)
    objective = Hopa(tau_mod=0.1, tau_ins=tau_ins, lambda_ins=lambda_ins, threshold=0.5, reduction="sum")
    check_experts(preset, 0.01)
    check(preset, objective, "experts.objective.")
    check(preset, objective, "distill.student.")
    check(preset, LowRank(rank=rank, alpha=alpha), "distill.similarity.")
    check(preset, SgdOptimiser(rows=100.0, similarity=similarity, step_sizes=1e-4, momentum=0.5), "distill.optimiser.")
    published = {
        "size": int(name.partition("-")[2]),
        "batch_size": 25,
        "iterations": iterations,
        "num_student_steps": 16,
        "outer.num_expert_epochs": 2,
        "outer.max_start_epoch": starts,
        "initial_step_size": 0.01,
        "rollout": "tesla",
        "schedule": "constant",
        "blend": False,
    }
    check(preset, published, "distill.")


@pytest.mark.parametrize("method", ["lors", "repblend"])
@pytest.mark.parametrize("name", LORS)
def test_published_settings_of_lors_and_repblend(name: str, method: str) -> None:
    size, rows, similarity, rank, alpha, batch, starts, tau, iterations = LORS[name]
    preset = f"paper/{method}-{name}"
    check_experts(preset, 0.1)
    check(preset, InfoNCE(tau=0.07), "experts.objective.")
    check(preset, PairwiseWbce(tau=tau, threshold=0.5, reduction="mean", epsilon=1e-6), "distill.student.")
    check(preset, LowRank(rank=rank, alpha=alpha), "distill.similarity.")
    check(preset, SgdOptimiser(rows=rows, similarity=similarity, step_sizes=0.01, momentum=0.5), "distill.optimiser.")
    published = {
        "size": size,
        "batch_size": 20 if method == "repblend" else batch,
        "iterations": 3000 if method == "repblend" else iterations,
        "num_student_steps": 8,
        "outer.num_expert_epochs": 1,
        "outer.max_start_epoch": starts,
        "initial_step_size": 0.1,
        "rollout": "tesla",
        "schedule": "constant",
        "blend": method == "repblend",
    }
    check(preset, published, "distill.")


def test_published_settings_of_mtt_vl() -> None:
    preset = "paper/mtt-vl-100"
    check_experts(preset, 0.1)
    check(preset, InfoNCE(tau=0.07), "experts.objective.")
    student = trajectory(preset).student
    assert isinstance(student, InfoNCE)
    assert student.tau == pytest.approx(1 / math.log(1 / 0.07), rel=1e-8)
    assert trajectory(preset).similarity == FixedIdentity()
    check(preset, {"kind": "sgd", "rows": 1000.0, "step_sizes": 0.01, "momentum": 0.5}, "distill.optimiser.")
    published = {
        "size": 100,
        "batch_size": 100,
        "num_student_steps": 8,
        "outer.num_expert_epochs": 1,
        "outer.max_start_epoch": 2,
        "initial_step_size": 0.1,
        "rollout": "bptt",
        "schedule": "constant",
    }
    check(preset, published, "distill.")


@pytest.mark.parametrize("name", PAPER)
def test_step_sizes_themselves_are_learned_and_nothing_is_called_as_published(name: str) -> None:
    """Heads, features and the choice on validation always differ from the publications."""
    assert trajectory(name).step_size_space == "linear"
    assert "as published" not in text_of(name)
    if "extends = " not in text_of(name):
        assert "themselves are learned" in text_of(name).replace("\n# ", " ")


@pytest.mark.parametrize("name", PAPER)
def test_published_settings_include_the_protocol_and_no_early_stopping(name: str) -> None:
    config = load_config(preset=name)
    assert config.evaluate == EvaluateConfig(protocol="paper")
    assert trajectory(name).patience == 0


def test_our_recipes_stop_early_and_evaluate_by_our_protocol() -> None:
    """Settings of ours for published methods have few validations and no patience."""
    learned = [name for name in OURS if load_config(preset=name).distill.has_iterations]
    patience = {name: trajectory(name).patience for name in learned}
    assert {name for name, value in patience.items() if value} == {"recommended", "compact", "task", "whole-run"}
    for name in ("recommended", "compact", "task", "whole-run"):
        assert patience[name] * trajectory(name).validate_every < trajectory(name).iterations
    assert {load_config(preset=name).evaluate.protocol for name in OURS} == {"ours"}


@pytest.mark.parametrize(
    ("name", "similarity"),
    [
        ("hopa-no-similarity", FixedIdentity()),
        ("hopa-full-similarity", Full()),
        ("lors-diagonal", Diagonal()),
        ("lors-full", Full()),
        ("lors", LowRank()),
    ],
)
def test_a_variant_differs_from_its_base_in_that_alone(name: str, similarity: BaseModel) -> None:
    base = trajectory(name.partition("-")[0])
    assert trajectory(name) == base.evolve(similarity=similarity)
