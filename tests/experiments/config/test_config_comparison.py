"""The settings of a comparison: from a file, a shipped name or methods by name; what cannot take effect is refused."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.planted import planted
from omnidistill.evaluation.baselines import DEFAULT, baselines, default_baselines
from omnidistill.evaluation.baselines.all_rows import AllRowsOwn
from omnidistill.experiments.comparison import plan_cells
from omnidistill.experiments.config import (
    ComparisonConfig,
    MethodEntry,
    RunConfig,
    describe_comparisons,
    describe_presets,
    entry_config,
    has_setting,
    load_comparison,
    load_config,
)
from omnidistill.models.objectives import Hopa, InfoNCE, PairwiseWbce

FOLDER = Path(str(resources.files("omnidistill") / "comparisons"))
OTHERS = ("crossed", "paper-table-4")  # have settings of their own
NAMES = [name for name in describe_comparisons() if name not in OTHERS]
FILE = """
layout = "cost"
sizes = [20, 30]
methods = ["hopa", { preset = "lors", label = "LoRS (ours)", settings = ["distill.rollout=auto"] }]
baselines = ["cca"]
"""


def refusal(*arguments: Any, **named: Any) -> str:
    with pytest.raises(InputError) as caught:
        load_comparison(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(FILE)
    return path


# where it comes from


def test_a_file_gives_its_stem_as_the_name(file: Path) -> None:
    name, found = load_comparison(file)
    assert name == "mine"
    assert found == ComparisonConfig(
        layout="cost",
        sizes=(20, 30),
        methods=(
            MethodEntry(preset="hopa"),
            MethodEntry(preset="lors", label="LoRS (ours)", settings=("distill.rollout=auto",)),
        ),
        baselines=default_baselines(["cca"]),
    )
    assert (found.seeds, found.num_students) == ((0, 1, 2), 5)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_one_is_the_file_of_its_name(name: str) -> None:
    loaded, found = load_comparison(preset=name)
    assert loaded == name
    tree = tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))
    named = [entry if isinstance(entry, str) else entry["preset"] for entry in tree["methods"]]
    assert [entry.preset for entry in found.methods] == [each.replace("{benchmark}", "msrvtt") for each in named]
    assert found.sizes == tuple(tree.get("sizes", (100,)))
    assert found.bytes == (tuple(tree["bytes"]) if "bytes" in tree else None)
    assert found.baselines == tuple(baselines.build(each) for each in tree.get("baselines", DEFAULT))


def test_a_baseline_is_named_alone_or_with_its_settings(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    own = (
        '{ kind = "full-own", objective = "hopa" }, { kind = "full-own", objective = { kind = "infonce", tau = 0.1 } }'
    )
    file.write_text(f'methods = ["apm"]\nbaselines = ["cca", "full-own", {own}]\n')
    found = load_comparison(file)[1].baselines
    assert found[:2] == default_baselines(["cca", "full-own"])
    assert found[2:] == (AllRowsOwn(objective=Hopa()), AllRowsOwn(objective=InfoNCE(tau=0.1)))


def test_methods_by_name_alone() -> None:
    name, found = load_comparison(methods=["hopa", "paper/hopa-msrvtt-{size}"])
    assert name == "comparison"
    assert found == ComparisonConfig(
        methods=(MethodEntry(preset="hopa"), MethodEntry(preset="paper/hopa-msrvtt-{size}"))
    )


def test_given_values_replace_those_of_the_file_and_none_does_not(file: Path) -> None:
    given_values: dict[str, Any] = {
        "sizes": [7],
        "seeds": [3],
        "num_students": 2,
        "layout": None,
        "settings": ["heads.width=8"],
    }
    name, found = load_comparison(file, methods=["apm"], **given_values)
    assert name == "mine"
    assert found == ComparisonConfig(
        layout="cost",
        methods=(MethodEntry(preset="apm"),),
        sizes=(7,),
        seeds=(3,),
        num_students=2,
        baselines=default_baselines(["cca"]),
        settings=("heads.width=8",),
    )


@pytest.mark.parametrize("amounts", ["sizes = [20, 30]", 'bytes = ["1%"]', ""])
def test_given_sizes_or_bytes_replace_either_of_the_file(amounts: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'methods = ["hopa"]\n{amounts}\n')
    by_bytes, by_size = load_comparison(file, bytes=["2%", "64kB"])[1], load_comparison(file, sizes=[7])[1]
    assert by_bytes == ComparisonConfig(methods=(MethodEntry(preset="hopa"),), bytes=("2%", "64kB"))
    assert by_size == ComparisonConfig(methods=(MethodEntry(preset="hopa"),), sizes=(7,))
    assert "give only one of them" in refusal(file, sizes=[7], bytes=["2%"])


# refused


def test_a_file_and_a_name_together(file: Path) -> None:
    assert "preset and config both define the settings; pass only one" in refusal(file, preset="quick")


def test_nothing_to_compare() -> None:
    assert "pass methods or preset" in refusal()
    assert "pass methods or preset" in refusal(sizes=[10])


def test_an_unknown_name_suggests_the_nearest() -> None:
    message = refusal(preset="paper-tabel-1")
    assert "unknown comparison 'paper-tabel-1'; did you mean 'paper-table-1'?" in message
    assert "omnidistill presets" in message
    assert "it is a method, so use methods='hopa'" in refusal(preset="hopa")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("sise = [10]", "unknown setting 'sise'; did you mean 'sizes'?"),
        ("xyzzy = 1", "unknown setting 'xyzzy'; known here: baselines, bytes, layout, methods"),
        ('methods = [{ preset = "hopa", setings = [] }]', "did you mean 'methods.0.settings'?"),
        ('methods = [{ preset = "hopa", xyzzy = 1 }]', "known here: each_anchor, label, preset, settings"),
        ('methods = [{ label = "x" }]', "methods.0.preset"),
        ("methods = [5]", "methods.0"),
        ("methods = []", "methods"),
        ('methods = "hopa"', "methods"),
        ("sizes = []", "sizes"),
        ("sizes = [0]", "sizes.0 = 0"),
        ("sizes = [1.5]", "sizes.0 = 1.5"),
        ("sizes = 100", "sizes = 100"),
        ("sizes = [10, 20, 10]", "sizes = [10, 20, 10]: a value is given twice"),
        ('bytes = ["1%", "1%"]', "bytes = ['1%', '1%']: a value is given twice"),
        ("bytes = [1000]", "bytes.0 = 1000"),
        ("bytes = []", "bytes = []"),
        ('sizes = [10]\nbytes = ["1%"]', "'sizes' and 'bytes' both determine the number of rows; give only one"),
        ("seeds = [1, 1]", "seeds = [1, 1]: a value is given twice"),
        ("seeds = [-1]", "seeds.0 = -1"),
        ("seeds = [2020-01-01]", "seeds.0"),
        ("num_students = 1", "num_students = 1"),
        ('layout = "tabel"', "retrieval"),
        ('references = ["cca"]', "setting 'references' is now called 'baselines'; see docs/upgrading.md"),
        ('baselines = ["randon"]', "baseline 'randon' is not installed; installed: zero-shot, random"),
        ('baselines = ["cca", "cca"]', "baselines = ['cca', 'cca']: a value is given twice"),
        ('baselines = ["cca", { kind = "cca" }]', "a value is given twice"),
        (
            'baselines = [{ kind = "cca", ridge = [0.1] }]',
            "unknown setting 'baselines.0.ridge'; did you mean 'baselines.0.ridges'?",
        ),
        ('baselines = [{ kind = "full-own", objective = "hoppa" }]', "objective 'hoppa' is not installed"),
        ('baselines = "cca"', "baselines"),
        ('settings = ["distill.size=10"]', "in a comparison, set 'distill.size' with sizes or bytes instead"),
        ('settings = [" seed = 10"]', "in a comparison, set 'seed' with seeds instead"),
        ('settings = ["experts.seed=10"]', "with seeds"),
        ('settings = ["evaluate.num_seeds=10"]', "with num_students"),
        ('methods = [{ preset = "hopa", settings = ["seed=1"] }]', "with seeds"),
        ('methods = [{ preset = "hopa", settings = ["heads.width=8"] }]', "move it to the comparison's settings"),
        ('methods = [{ preset = "hopa", settings = ["evaluate.tau=0.1"] }]', "move it to the comparison's settings"),
        ('methods = [{ preset = "hopa", settings = ["modalities=[]"] }]', "move it to the comparison's settings"),
        ("[", "not valid TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_place(line: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    methods = "" if line.startswith("methods") else 'methods = ["hopa"]\n'
    file.write_text(f"{methods}{line}\n")
    message = refusal(file)
    assert message.startswith(str(file))
    assert told in message


def test_no_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none.toml")


def taken_or_refused(file: Path) -> str:
    """What the refusal says; "" for a comparison."""
    try:
        load_comparison(file)
    except InputError as error:
        return str(error)
    return ""


@given(text=st.text(max_size=40))
@example(text="methods = [{}]")
@example(text='methods = ["hopa"]\nseeds = [9999999999999999999999]')
@settings(deadline=None, max_examples=60)
def test_any_file_is_taken_or_refused_in_one_line(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("config") / "mine.toml"
    file.write_text(text, "utf-8")
    assert "\n" not in taken_or_refused(file)


# one run of it


def entry(preset: str, *own: str, label: str | None = None) -> MethodEntry:
    return MethodEntry(preset=preset, settings=own, label=label)


def comparison(*shared: str, **given_values: Any) -> ComparisonConfig:
    return ComparisonConfig(methods=(entry("hopa"),), settings=shared, **given_values)


def test_a_run_is_the_preset_at_size_and_seed() -> None:
    found = entry_config(entry("tesla"), 30, 5, comparison(seeds=(7, 5), num_students=3))
    assert found == load_config(preset="tesla", distill__size=30, seed=5, experts__seed=5, evaluate__num_seeds=3)
    assert entry_config(entry("tesla", label="X"), 30, 5, comparison()).method == "X"


def test_where_a_budget_decides_the_size_every_rank_fits() -> None:
    config = entry_config(entry("hopa", "distill.similarity.rank=3000"), None, 0, comparison(), "64kB")
    assert (config.distill.size, config.distill.similarity.rank) == ("64kB", 3000)  # type: ignore[union-attr]


def test_a_table_is_its_settings() -> None:
    """So what a comparison decides is told from what it does not, and shared from a method's own."""
    given = comparison("heads={width=8, num_epochs=1}", 'distill.student={kind="infonce",tau=0.1}')
    assert given.settings == (
        "heads.width=8",
        "heads.num_epochs=1",
        'distill.student.kind="infonce"',
        "distill.student.tau=0.1",
    )
    assert entry_config(entry("hopa"), 30, 0, given).distill.student == InfoNCE(tau=0.1)
    for override in (
        "distill.student=infonce",
        "distill.student.kind=infonce",
    ):  # its settings may come before or after
        for shared in ((override, "distill.student.tau=0.2"), ("distill.student.tau=0.2", override)):
            assert entry_config(entry("hopa"), 30, 0, comparison(*shared)).distill.student == InfoNCE(tau=0.2)
    with pytest.raises(ValidationError, match=r"distill\.size=5: in a comparison, set 'distill\.size' with sizes"):
        comparison("distill={size=5}")
    with pytest.raises(
        InputError,
        match=r"hopa-didemo-\{size\}: its paper gives settings only for certain numbers of rows; pass",
    ):
        entry_config(entry("paper/hopa-didemo-{size}"), None, 0, comparison(), "1%")
    with pytest.raises(InputError, match=r"method hopa: .*'distill\.rho'"):
        entry_config(entry("hopa", "distill.rho=1.0"), None, 0, comparison(), "1%")


def test_the_size_in_a_name_is_put_in() -> None:
    found = entry_config(entry("paper/hopa-didemo-{size}"), 500, 0, comparison())
    assert found.distill == load_config(preset="paper/hopa-didemo-500").distill


def test_shared_settings_reach_those_that_have_them_and_own_ones_win() -> None:
    shared = comparison("distill.iterations=7", "experts.num_epochs=9")
    assert entry_config(entry("hopa"), 30, 0, shared).distill.iterations == 7  # type: ignore[union-attr]
    assert entry_config(entry("hopa", "distill.iterations=8"), 30, 0, shared).distill.iterations == 8  # type: ignore[union-attr]
    apm = entry_config(entry("apm"), 30, 0, shared)
    assert apm.distill == load_config(preset="apm", distill__size=30).distill
    assert apm.experts.num_epochs == 9


def test_a_run_that_cannot_be_names_the_method_and_the_size() -> None:
    with pytest.raises(InputError, match=r"method hopa, 5 rows: .*rank = 10 exceeds size = 5"):
        entry_config(entry("hopa"), 5, 0, comparison())
    with pytest.raises(InputError, match=r"method mine, 30 rows: .*'distill.rho'"):
        entry_config(entry("hopa", "distill.rho=1.0", label="mine"), 30, 0, comparison())
    with pytest.raises(InputError, match=r"unknown preset 'hopaa'; did you mean 'hopa'\?"):
        entry_config(entry("hopaa"), 30, 0, comparison())


@pytest.mark.parametrize(
    ("preset", "setting", "has"),
    [
        ("hopa", "distill.iterations=5", True),
        ("hopa", " distill.similarity.rank = 5", True),
        ("hopa", "distill.similarity={}", True),
        ("hopa", "distill.similarity.kind=full", True),
        ("hopa", "distill.kind=learn", True),
        ("hopa", "distill.iterations.kind=learn", False),
        ("hopa", "distill.student.tau=0.1", False),
        ("lors", "distill.student.tau=0.1", True),
        ("lors", "distill.student.tau_mod=0.1", False),
        ("herding", "distill.similarity.rank=5", False),
        ("herding", "distill.max_steps=5", True),
        ("herding", "distill.similarity.kind=full", False),
        ("hopa", "distill.batch=5", False),
        ("hopa", "distill.size.deeper=5", False),
        ("hopa", "nonsense=5", False),
        ("hopa", "", False),
    ],
)
def test_whether_a_run_has_a_setting(preset: str, setting: str, has: bool) -> None:
    assert has_setting(load_config(preset=preset), setting) is has


# those that ship


@pytest.fixture(scope="module")
def sets() -> dict[int, FeatureSet]:
    rows = {"heads": 4, "train": 8000, "validation": 4, "test": 4}  # 1 % holds the files of two rows
    names = ("video", "text", "audio", "depth")
    return {m: prepare(planted(dict.fromkeys(names[:m], 3), rows, latent=2)) for m in (2, 3, 4)}


@pytest.mark.parametrize("num_modalities", [2, 3, 4])
@pytest.mark.parametrize("name", NAMES)
def test_every_method_of_a_shipped_one_can_be_planned(
    name: str, num_modalities: int, sets: dict[int, FeatureSet]
) -> None:
    data = sets[num_modalities]
    _, found = load_comparison(preset=name, seeds=[0])
    cells = plan_cells(found, data)
    rows = sum(num_modalities if each.each_anchor else 1 for each in found.methods)
    if found.bytes:
        assert len({(cell.method, cell.budget) for cell in cells}) == len(cells) <= rows * len(found.bytes)
    else:
        assert len(cells) == rows * len(found.sizes)
    labels = {cell.method: cell.config.method for cell in cells}
    assert len(set(labels.values())) == len(labels) == rows, "a table tells its rows apart"


def test_each_is_described_in_a_line_of_its_own() -> None:
    described = describe_comparisons()
    assert list(described) == sorted(path.stem for path in FOLDER.glob("*.toml"))
    assert len(set(described.values())) == len(described)
    for name, text in described.items():
        assert (FOLDER / f"{name}.toml").read_text("utf-8").startswith(f"# {text}\n")
        assert 10 < len(text) <= 100


@pytest.mark.parametrize("settings", [(), ("evaluate.protocol=paper",)])
def test_all_rows_have_the_evaluation_protocol_of_the_comparison(settings: tuple[str, ...]) -> None:
    """Published presets have their own one, which counts only for runs of their own."""
    _, comparison = load_comparison(methods=["paper/lors-flickr-100", "recommended"], settings=list(settings))
    protocols = {entry_config(entry, 100, 0, comparison).evaluate.protocol for entry in comparison.methods}
    assert protocols == {"paper" if settings else "ours"}
    assert load_config(preset="paper/lors-flickr-100").evaluate.protocol == "paper"


def test_a_comparison_and_a_method_never_have_one_name() -> None:
    assert not set(describe_comparisons()) & set(describe_presets())


PRINTED = (*(f"paper-table-{number}" for number in (1, 2, 3, 5, 6, 7, 10)), "paper-figure-2")


@pytest.mark.parametrize("name", PRINTED)
def test_a_table_of_the_paper_has_its_sizes_protocol_and_published_settings(name: str) -> None:
    _, found = load_comparison(preset=name)
    assert (found.sizes, len(found.seeds)) == ((100, 200, 500), 3)
    for size in found.sizes:
        configs = [entry_config(each, size, 0, found) for each in found.methods]
        assert {config.evaluate.protocol for config in configs} == {"paper"}
        assert {config.distill.num_stored for config in configs} == {size}
    published = [each for each in found.methods if each.preset.startswith("paper/")]
    assert [each.preset for each in found.methods if each not in published] in ([], ["tesla-separate"])


def test_tables_one_to_three_have_rivals_on_pairs_and_paper_joint_the_others() -> None:
    for number, data in ((1, "msrvtt"), (2, "vggsound"), (3, "didemo")):
        _, found = load_comparison(preset=f"paper-table-{number}")
        assert found.layout == "retrieval"
        rivals = ["paper/mtt-vl-100", "paper/lors-flickr-{size}", "paper/repblend-flickr-{size}"]
        assert [each.preset for each in found.methods if each.settings == ("joint=false",)] == rivals
        assert found.methods[-1] == MethodEntry(preset=f"paper/hopa-{data}-{{size}}", label="HoPA")
    _, joint = load_comparison(preset="paper-joint", benchmark="didemo")
    assert all(not each.settings for each in joint.methods)
    names = [each.preset for each in joint.methods]
    assert {*rivals, "tesla", "hopa", "anchor", "recommended", "paper/hopa-didemo-{size}"} == set(names)


def student(name: str, label: str, benchmark: str = "vggsound") -> tuple[RunConfig, RunConfig]:
    """A row of a table of the paper, and HoPA with the settings published for the same dataset."""
    _, found = load_comparison(preset=name, benchmark=benchmark)
    (entry,) = (each for each in found.methods if each.label == label)
    plain = load_config(preset=f"paper/hopa-{benchmark}-500")
    return entry_config(entry, 500, 0, found), plain


@pytest.mark.parametrize(
    ("name", "label", "changes"),
    [
        ("paper-table-5", "HoPA", {}),
        ("paper-table-6", "rank 1", {}),
        ("paper-table-6", "rank 2", {"proxy_rank": 2}),
        ("paper-table-7", "identity instead of SVD", {"modes": "identity"}),
        ("paper-table-7", "mean instead of SVD", {"modes": "mean"}),
        ("paper-table-10", "without L_ins", {"lambda_ins": 0.0}),
        ("paper-table-10", "without L_mod", {"modality_term": "none"}),
        ("paper-table-10", "without similarity mining", {}),
    ],
)
def test_a_variant_differs_from_the_published_settings_in_one_thing(
    name: str, label: str, changes: dict[str, Any]
) -> None:
    """In experts and student; where S plays no role or is not learned, it is the identity."""
    config, plain = student(name, label)
    expected = plain.distill.student.evolve(**changes)
    assert (config.distill.student, config.experts.objective) == (expected, expected)
    fixed = label in ("without L_ins", "without similarity mining")
    assert config.distill.similarity.kind == ("identity" if fixed else "low-rank")  # type: ignore[union-attr]
    same = plain.distill.evolve(student=expected, similarity=config.distill.similarity)  # type: ignore[union-attr]
    assert config.distill == same
    assert config.experts == plain.experts.evolve(objective=expected, seed=0)


def test_pairs_and_anchors_of_table_five() -> None:
    for label, anchor in (("3-pair", None), ("T-bind", "text"), ("V-bind", "video")):
        config, plain = student("paper-table-5", label, "didemo")
        assert config.distill.student == config.experts.objective == PairwiseWbce(anchor=anchor)
        assert config.distill == plain.distill.evolve(student=PairwiseWbce(anchor=anchor))


def test_a_table_has_the_settings_of_its_dataset() -> None:
    for given_name, expected in ((None, "msrvtt"), ("didemo", "didemo"), ("vggsound", "vggsound")):
        _, found = load_comparison(preset="paper-table-6", benchmark=given_name)
        assert {each.preset for each in found.methods} == {f"paper/hopa-{expected}-{{size}}"}
    assert "unknown benchmark 'vggsund'; choose from msrvtt, vggsound, didemo; did you mean 'vggsound'?" in refusal(
        preset="paper-table-6", benchmark="vggsund"
    )
    assert "benchmark='didemo': no method in this comparison has settings for a benchmark" in refusal(
        preset="paper-table-1", benchmark="didemo"
    )


def test_given_settings_are_added_to_those_of_a_table() -> None:
    _, found = load_comparison(preset="paper-table-6", settings={"distill.iterations": 7})
    assert found.settings == ('evaluate.protocol="paper"', "distill.iterations=7")
    _, ours = load_comparison(preset="paper-table-6", settings=["evaluate.protocol=ours"])
    assert entry_config(ours.methods[0], 100, 0, ours).evaluate.protocol == "ours"


def test_table_four_belongs_to_another_command() -> None:
    message = refusal(preset="paper-table-4")
    assert "use 'omnidistill transfer RUN --to SET2 --preset paper-table-4'" in message
    assert "(command: transfer)" in describe_comparisons()["paper-table-4"]


def test_tables_of_version_0_1_have_names_of_their_own() -> None:
    layouts = {name: load_comparison(preset=name)[1] for name in ("hopa-pairs", "hopa-variants", "hopa-costs")}
    assert [each.layout for each in layouts.values()] == ["variants", "variants", "cost"]
    directions = load_comparison(preset="directions")[1]
    assert directions.layout == "directions"
    every = [entry.preset for each in (*layouts.values(), directions) for entry in each.methods]
    assert not [name for name in every if name.startswith("paper/")]
