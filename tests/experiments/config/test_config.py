"""The run's settings: strict, every one documented, and whatever cannot take effect is refused with a suggestion."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from omnidistill.core.errors import InputError
from omnidistill.core.settings import field_docs
from omnidistill.distillation.optimisers import AdamOptimiser, SgdOptimiser
from omnidistill.distillation.outer import TrajectoryObjective
from omnidistill.distillation.version_0_1 import RENAMED
from omnidistill.experiments.config import RunConfig, describe_fields, load_config, parse_config
from omnidistill.experiments.config.settings_tree import components_of
from omnidistill.methods.learn import Learn
from omnidistill.models.objectives import Hopa, InfoNCE, PairwiseWbce
from omnidistill.models.similarities import FixedIdentity, Full, LowRank
from omnidistill.models.storages import RowStorage


def refusal(*overrides: str, preset: str = "smoke") -> str:
    with pytest.raises(InputError) as caught:
        load_config(preset=preset, overrides=overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_config_prints_can_be_read_back(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    for preset in ("hopa", "anchor-coded", "paper/hopa-msrvtt-100"):
        config = load_config(preset=preset)
        file.write_text(json.dumps(config.to_json()))
        assert load_config(file) == config
    file.write_text('{"distill": ')
    with pytest.raises(InputError, match=r"run\.json: not valid JSON"):
        load_config(file)


def test_without_a_name_it_is_the_default_method() -> None:
    assert load_config() == load_config(preset="anchor")
    assert load_config().method == "anchor"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("distill.iteration=5", "distill.iteration'; did you mean 'distill.iterations'?"),
        ("distil.size=5", "'distil'; did you mean 'distill'?"),
        ("experts.learning_rates=1.0", "did you mean 'experts.learning_rate'?"),
        ("distill.similarity.ranks=2", "'distill.similarity.ranks'; did you mean 'distill.similarity.rank'?"),
        ("distill.student.tau_inst=0.1", "'distill.student.tau_inst'; did you mean 'distill.student.tau_ins'?"),
        ("sead=5", "did you mean 'seed'?"),
        ("nonsense=5", "unknown setting 'nonsense'; known here: "),
    ],
)
def test_a_typo_is_told_what_to_type(typed: str, meant: str) -> None:
    message = refusal(typed)
    assert "unknown setting" in message
    assert meant in message


@pytest.mark.parametrize(
    "idle",
    [
        ("distill.student.kind=infonce", "distill.student.tau_mod=0.1"),
        ("distill.student.kind=hopa", "distill.student.tau=0.1"),
        ("distill.student.kind=hopa", "distill.student.anchor=a"),
        ("distill.optimiser.kind=adam", "distill.optimiser.momentum=0.5"),
        ("distill.similarity.kind=identity", "distill.similarity.rank=2"),
        ("distill.similarity.kind=full", "distill.similarity.alpha=2.0"),
        ("experts.objective.kind=infonce", "experts.objective.threshold=0.5"),
    ],
)
def test_a_setting_that_the_choice_does_not_use_is_refused(idle: tuple[str, ...]) -> None:
    key = idle[1].partition("=")[0]
    assert f"unknown setting '{key}'" in refusal(*idle)


@pytest.mark.parametrize(
    ("overrides", "where", "expected"),
    [
        (("distill.student.kind=hopa",), "distill.student", Hopa()),
        (("distill.student.kind=pairwise-wbce",), "distill.student", PairwiseWbce()),
        (("distill.student.kind=infonce", "distill.student.anchor=a"), "distill.student", InfoNCE(anchor="a")),
        (("experts.objective.kind=infonce",), "experts.objective", InfoNCE()),
        (("distill.similarity.kind=identity",), "distill.similarity", FixedIdentity()),
        (("distill.similarity.kind=full",), "distill.similarity", Full()),
        (("distill.similarity.rank=3",), "distill.similarity", LowRank(rank=3)),
        (("distill.optimiser.kind=sgd", "distill.optimiser.rows=5.0"), "distill.optimiser", SgdOptimiser(rows=5.0)),
        (("distill.optimiser.rows=5.0",), "distill.optimiser", AdamOptimiser(rows=5.0)),
        (('distill.optimiser={kind="sgd", rows=5.0}',), "distill.optimiser", SgdOptimiser(rows=5.0)),
    ],
)
def test_choices_are_named_by_kind(overrides: tuple[str, ...], where: str, expected: BaseModel) -> None:
    found: Any = load_config(preset="smoke", overrides=overrides)
    for name in where.split("."):
        found = getattr(found, name)
    assert found == expected


def test_a_table_changes_its_settings_and_no_other() -> None:
    plain = load_config(preset="smoke")
    found = load_config(preset="smoke", overrides=['distill={size=9, similarity={rank=3}, optimiser={kind="sgd"}}'])
    assert found.distill == plain.distill.model_copy(
        update={"size": 9, "similarity": LowRank(rank=3), "optimiser": SgdOptimiser()}
    )
    assert refusal("distill={size=9, iteration=3}") == refusal("distill.iteration=3")


def test_a_setting_that_was_given_is_not_blamed_on_the_preset() -> None:
    assert refusal("distill.iterations=0") == (
        "cannot use the settings: distill.iterations = 0: must be greater than or equal to 1"
    )
    assert refusal("distill.iteration=4") == (
        "cannot use the settings: unknown setting 'distill.iteration'; did you mean 'distill.iterations'?"
    )
    assert refusal("distill.similarity.kind=x") == (
        "cannot use the settings: distill.similarity: similarity 'x' is not installed; "
        "installed: identity, low-rank, diagonal, full, groups"
    )
    assert refusal("distill.similarity=x") == refusal("distill.similarity.kind=x")
    assert refusal("modalities=[1]") == "cannot use the settings: modalities.0 = 1: must be a valid string"
    told = "preset smoke: cannot use the settings: distill: similarity.rank = 11 exceeds"
    assert refusal("distill.similarity.rank=11").startswith(told)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("distill.size=0", "distill.size = 0: must be greater than or equal to 1"),
        ("distill.size=true", "distill.size = true: must be a valid integer or a valid string"),
        ("distill.size=1.5", "distill.size = 1.5: must be a valid integer or a valid string"),
        (
            "distill.size=1 percent",
            "distill.size: budget '1 percent': not an amount of bytes; use an amount such as 200000, 64kB, 1.5M or 1%",
        ),
        ("distill.storage.views=-1", "distill.storage.views = -1: must be greater than or equal to 1 or 'auto'"),
        ("distill.optimiser=5", "expected a name, or a dict (in TOML: a table) with the key 'kind', found 5"),
    ],
)
def test_a_setting_of_several_types_names_what_each_of_them_accepts(override: str, message: str) -> None:
    """Pydantic's own names of the alternatives of a type (`constrained-int`) are not part of a key."""
    assert message in refusal(override)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "distill.target=shortcut",
            "setting distill.target: setting 'distill.target' is now called 'distill.outer.kind'",
        ),
        (
            "distill.own_share=0.5",
            "setting distill.own_share: setting 'distill.own_share' is now called 'distill.outer.own_share'",
        ),
        (
            "distill.task.rows=5",
            "setting distill.task.rows: setting 'distill.task.rows' is now called 'distill.outer.task.",
        ),
        (
            "distill={max_start_epoch=2}",
            "setting 'distill.max_start_epoch' is now called 'distill.outer.max_start_epoch'",
        ),
        (
            "distill.kind=task",
            'setting distill.kind: distill.kind = "task" is now written as distill.kind = "learn" with ',
        ),
        (
            "distill.storage.views=0",
            "setting distill.storage.views: distill.storage.views = 0 is now written as distill.storage",
        ),
    ],
)
def test_an_old_setting_on_the_command_line_gives_its_new_name(override: str, message: str) -> None:
    for preset in ("smoke", "recommended"):
        refused = refusal(override, preset=preset)
        assert message in refused
        assert refused.endswith("; see docs/upgrading.md")
        assert "preset" not in refused


def test_every_old_name_of_a_setting_is_known_and_its_new_name_is_a_setting(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    keys = {key for key, _, _ in describe_fields(RunConfig)}
    for old, new in RENAMED.items():
        file.write_text(f"{old} = 2\n")
        with pytest.raises(InputError, match="is now") as caught:
            load_config(file)
        assert str(caught.value) == f"{file}: setting '{old}' is now called '{new}'; see docs/upgrading.md"
        assert new.removesuffix(".kind") in keys or any(
            key.startswith(f"{new.removesuffix('.kind')} (") for key in keys
        )
    file.write_text('[distill]\nkind = "trajectory"\n')
    with pytest.raises(
        InputError, match=re.escape(f'{file}: distill.kind = "trajectory" is now written as distill.kind = "learn"')
    ):
        load_config(file)


def test_a_component_is_named_alone_or_by_a_table() -> None:
    for override in ("distill.student=infonce", "distill.student.kind=infonce", 'distill.student={kind="infonce"}'):
        assert load_config(preset="hopa", overrides=[override]).distill.student == InfoNCE()
    typed = ["distill.student.tau=0.1", "distill.student=infonce"]
    for overrides in (typed, typed[::-1]):
        assert load_config(preset="hopa", overrides=overrides).distill.student == InfoNCE(tau=0.1)


def test_a_component_named_alone_in_a_file_keeps_its_defaults(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('extends = "hopa"\n[distill]\nstudent = "infonce"\n')
    assert load_config(file).distill.student == InfoNCE()
    assert load_config(file).distill.similarity == load_config(preset="hopa").distill.similarity


def test_an_unknown_kind_lists_the_known_ones() -> None:
    message = refusal("distill.student.kind=clip")
    assert "distill.student" in message
    assert all(kind in message for kind in ("hopa", "pairwise-wbce", "infonce"))


def test_the_order_of_overrides_does_not_lose_one() -> None:
    """A kind drops the settings of the kind before it; it must not drop what was typed for the new one."""
    typed = ["distill.optimiser.rows=50.0", "distill.optimiser.kind=sgd"]
    for overrides in (typed, typed[::-1]):
        assert load_config(preset="smoke", overrides=overrides).distill.optimiser == SgdOptimiser(rows=50.0)


def test_naming_the_kind_in_effect_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[distill]\noptimiser.rows = 0.7\n")
    assert load_config(file, overrides=["distill.optimiser.kind=adam"]).distill.optimiser == AdamOptimiser(rows=0.7)
    assert load_config(file, overrides=["distill.optimiser.kind=sgd"]).distill.optimiser == SgdOptimiser()


@pytest.mark.parametrize(
    ("literal", "value"), [("7", 7), ("1_000", 1000), ("0x10", 16)], ids=["plain", "grouped", "hexadecimal"]
)
def test_integers(literal: str, value: int) -> None:
    assert load_config(preset="smoke", overrides=[f"seed={literal}"]).seed == value


def test_literals_are_toml_and_bare_words_are_text() -> None:
    config = load_config(
        preset="smoke",
        overrides=[
            "method=my method",
            "evaluate.learning_rates=[0.5, 2.0]",
            "distill.rollout='bptt'",
            "distill.student.lambda_ins = 0.25",
            "distill.clip_norm=1e-3",
        ],
    )
    assert config.method == "my method"
    assert config.evaluate.learning_rates == (0.5, 2.0)
    assert config.distill.rollout == "bptt"
    assert config.distill.student == Hopa(lambda_ins=0.25)
    assert config.distill.clip_norm == 1e-3


def test_whole_numbers_are_good_where_a_fraction_is() -> None:
    assert load_config(preset="smoke", overrides=["experts.learning_rate=3"]).experts.learning_rate == 3.0


@pytest.mark.parametrize(
    ("key", "literal"),
    [
        ("distill.iterations", "1.5"),
        ("distill.iterations", "1.0"),
        ("distill.iterations", "true"),
        ("distill.iterations", '"5"'),
        ("distill.iterations", "five"),
        ("distill.iterations", "0"),
        ("distill.iterations", "-1"),
        ("distill.iterations", "[5]"),
        ("distill.num_student_steps", "0"),
        ("distill.size", "0"),
        ("distill.batch_size", "1"),
        ("experts.learning_rate", "nan"),
        ("experts.learning_rate", "inf"),
        ("experts.learning_rate", "1e400"),
        ("experts.learning_rate", "1e38"),
        ("experts.learning_rate", "0"),
        ("experts.learning_rate", "-1.0"),
        ("experts.learning_rate", "true"),
        ("experts.learning_rate", '"1.0"'),
        ("experts.learning_rate", "2020-01-01"),
        ("distill.student.threshold", "nan"),
        ("distill.student.threshold", "-inf"),
        ("distill.optimiser", "adamw"),
        ("distill.schedule", "linear"),
        ("distill.rollout", "DUAL"),
        ("evaluate.num_seeds", "1"),
        ("evaluate.learning_rates", "[]"),
        ("evaluate.learning_rates", "0.1"),
        ("evaluate.learning_rates", "[0.1, -1.0]"),
        ("method", "5"),
        ("seed", "-1"),
        ("seed", "18446744073709551616"),
        ("seed", "2020-01-01"),
        ("seed", "2020-01-01T00:00:00Z"),
        ("distill", "5"),
    ],
)
def test_impossible_values_are_refused_by_key(key: str, literal: str) -> None:
    message = refusal(f"{key}={literal}")
    assert key.rpartition(".")[2] in message or "date" in message


def taken_or_refused(*arguments: Any, **named: Any) -> str:
    """What the refusal says; "" for a configuration."""
    try:
        load_config(*arguments, **named)
    except InputError as error:
        return str(error)
    return ""


@given(text=st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=30))
@example(text="9" * 5000)
@example(text="1979-05-27T07:32:00-08:00")
@settings(deadline=None, max_examples=80)
def test_any_override_is_taken_or_refused_in_one_line(text: str) -> None:
    """Fuzz: a config or an InputError, never another exception."""
    for override in (text, f"{text}=1", f"seed={text}", f"distill.optimiser={text}", f"distill.{text}=1.0"):
        assert "\n" not in taken_or_refused(preset="smoke", overrides=[override])


@given(data=st.binary(max_size=60))
@example(data=b"\xff\xfe")
@example(data=b"seed = 2020-01-01")
@settings(deadline=None, max_examples=150)
def test_any_file_is_taken_or_refused(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("config") / "run.toml"
    file.write_bytes(data)
    message = taken_or_refused(file)
    assert not message or str(file) in message


@pytest.mark.parametrize("override", ["seed", "=", "", "=5", ".=5", "distill.=5", "seed.deep=5"])
def test_malformed_overrides(override: str) -> None:
    refusal(override)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("distill.similarity.rank=11",), "similarity.rank = 11 exceeds size = 10; use at most 10"),
        (("distill.size=1",), "exceeds size = 1"),
        (("distill.outer.max_start_epoch=4",), "exceeds experts.num_epochs = 3; train experts longer or start earlier"),
        (("distill.outer.num_expert_epochs=3",), "= 4 exceeds experts.num_epochs = 3"),
        (("experts.num_starts=3",), "experts.num_starts = 3 needs experts.num_experts of at least 4, not 2"),
        (("experts.random_starts=1",), "experts.random_starts = 1 must be below experts.num_starts = 1"),
        (("experts.num_starts=2", "experts.random_starts=2"), "random_starts = 2 must be below experts.num_starts = 2"),
        (("distill.outer.own_share=1.5",), "distill.outer.own_share = 1.5: must be less than or equal to 1"),
    ],
)
def test_settings_that_contradict_each_other(overrides: tuple[str, ...], told: str) -> None:
    assert told in refusal(*overrides)


def test_the_batch_follows_the_size() -> None:
    assert load_config(preset="hopa").distill.batch == 25
    assert load_config(preset="smoke").distill.batch == 10
    assert load_config(preset="smoke", overrides=["distill.batch_size=5"]).distill.batch == 5
    assert load_config(preset="smoke", overrides=["distill.batch_size=11"]).distill.batch == 10
    views = "distill.storage.views=3"
    assert load_config(preset="smoke", overrides=["distill.batch_size=11", views]).distill.batch == 11
    assert load_config(preset="smoke", overrides=["distill.batch_size=31", views]).distill.batch == 30
    assert load_config(preset="hopa", overrides=[views]).distill.num_rows == 300


def test_the_rank_of_the_similarity_follows_the_rows_trained_on() -> None:
    overrides = ["distill.storage.views=2", "distill.similarity.rank=20"]
    assert load_config(preset="smoke", overrides=overrides).distill.num_rows == 20
    told = "similarity.rank = 21 exceeds size x storage.views = 20; use at most 20"
    assert told in refusal("distill.storage.views=2", "distill.similarity.rank=21")


@pytest.mark.parametrize("bits", ["5", "1", "0", "64", "4.5", "true", "'four'"])
def test_bits_that_no_row_is_stored_by_are_refused_with_those_that_are(bits: str) -> None:
    message = refusal(f"distill.storage.bits={bits}")
    assert "distill.storage.bits" in message
    assert all(allowed in message for allowed in ("32", "16", "8", "6", "4", "3", "2"))


@pytest.mark.parametrize(
    "text",
    [
        "a" + ".a" * 20_000 + " = 1",
        "a" + '."a"' * 200 + " = 1",
        "[a" + " . a" * 200 + "]",
        "x = {a" + ".a" * 200 + " = 1}",
        "a = " + "[" * 20_000,
        "a = " + "[" * 100 + "]" * 100,
        "a = " + "{b = " * 100 + "1" + "}" * 100,
    ],
    ids=lambda text: text[:12],
)
def test_deeply_nested_files_are_refused_in_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    tracemalloc.start()
    with pytest.raises(InputError, match=rf"{file}: not valid TOML .*more than 64") as caught:
        load_config(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24
    assert "\n" not in str(caught.value)


def test_deeply_nested_keys_and_values_of_overrides_are_refused_in_one_line() -> None:
    for override in ("a" + ".a" * 3000 + "=1", "heads=" + "[" * 3000, "heads=" + "{b = " * 100 + "1" + "}" * 100):
        assert len(refusal(override)) < 4000


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('method = "mine"\n[distill]\nsize = 12\nsimilarity = { kind = "full" }\n')
    config = load_config(file, overrides=["distill.size=14"], seed=3)
    assert (config.method, config.distill.size, config.seed) == ("mine", 14, 3)
    assert config.distill.similarity == Full()
    file.write_text("size = ")
    with pytest.raises(InputError, match=rf"{file}: not valid TOML"):
        load_config(file)
    file.write_text("[distill]\nsise = 12\n")
    with pytest.raises(
        InputError, match=rf"{file}: cannot use the settings: unknown setting 'distill.sise'; did you mean"
    ):
        load_config(file)
    with pytest.raises(InputError, match="no such file"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(InputError, match="is not a regular file"):
        load_config(tmp_path)
    with pytest.raises(InputError, match="preset and config both define the settings; pass only one"):
        load_config(file, preset="hopa")


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"unknown preset 'hoppa'; did you mean 'hopa'\?; 'omnidistill presets'"):
        load_config(preset="hoppa")


def test_fixed_values_left_out_change_nothing() -> None:
    assert load_config(preset="smoke", distill__size=None, seed=None) == load_config(preset="smoke")


def test_configs_are_frozen() -> None:
    config = load_config(preset="smoke")
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 5  # type: ignore[misc]


def test_json_gives_the_same_config_back() -> None:
    config = load_config(preset="paper/hopa-msrvtt-100", overrides=["distill.clip_norm=2.0"])
    assert parse_config(json.loads(config.model_dump_json()), "here") == config


def models(model: type[BaseModel]) -> set[type[BaseModel]]:
    """The model and every one that can be below it: groups of settings, and every component of a registry."""
    below = [field.get_default(call_default_factory=True) for field in model.model_fields.values()]
    kinds = {type(default) for default in below if isinstance(default, BaseModel)}
    for name in model.model_fields:
        kinds |= set(components_of(model, name).values())
    return {model}.union(*(models(kind) for kind in kinds if kind is not model))


def test_every_setting_is_documented_and_described() -> None:
    described = describe_fields(RunConfig)
    keys = {key for key, _, _ in described}
    every = models(RunConfig)
    assert {RunConfig, Hopa, LowRank, Learn, TrajectoryObjective, RowStorage, SgdOptimiser} < every
    for model in every:
        assert model.__doc__
        for name, field in model.model_fields.items():
            if not isinstance(field.get_default(), BaseModel):
                assert field_docs(model).get(name), f"{model.__name__}.{name} has no documentation"
            assert any(key.endswith(name) or f".{name} (kind = " in key or key.startswith(f"{name} (") for key in keys)
    for key in ("distill.student.tau_mod", "distill.student.anchor", "distill.similarity.rank", "seed"):
        assert key in keys
    for kind in (
        "hopa",
        "infonce",
        "identity",
        "low-rank",
        "diagonal",
        "full",
        "sgd",
        "adam",
        "task",
        "learn",
        "trajectory",
        "shortcut",
        "rows",
        "select",
        "covmatch",
        "apm",
    ):
        assert any(key.endswith(f"(kind = {kind})") for key in keys)
    assert all(text and "\n" not in text for _, _, text in described)
    assert ("seed", "0", "Seed for all random numbers.") in described


def test_defaults_described_are_those_in_effect() -> None:
    described = [(key, json.loads(default)) for key, default, _ in describe_fields(RunConfig) if default]
    tree = RunConfig().model_dump(mode="json")
    for path in ("distill.iterations", "experts.num_experts", "evaluate.learning_rates", "distill.batch_size"):
        found: Any = tree
        for name in path.split("."):
            found = found[name]
        assert (path, found) in described


DRIVER = """
import sys
def loaded(*names): return sorted(n for n in names if n in sys.modules)
import omnidistill.core.errors
from omnidistill.cli.main import main
for arguments in (["--help"], ["distill", "--help"], ["--version"]):
    try: main(arguments)
    except SystemExit as stop: assert stop.code == 0, stop.code
print("HELP", loaded("torch", "pydantic", "numpy", "rich", "safetensors"), file=sys.stderr)
import omnidistill
print("PACKAGE", loaded("torch", "pydantic"), file=sys.stderr)
import omnidistill.core.settings, omnidistill.core.registry
print("SETTINGS", loaded("torch", "numpy"), file=sys.stderr)
"""


def test_help_and_settings_need_nothing_heavy() -> None:
    """Help is instant only while neither torch nor pydantic is imported for it; the base of settings needs no torch."""
    done = subprocess.run([sys.executable, "-c", DRIVER], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == ["HELP []", "PACKAGE []", "SETTINGS []"]
    assert "usage: omnidistill" in done.stdout
    assert "--preset" in done.stdout
