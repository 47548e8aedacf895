"""A whole comparison, for two, three and four modalities: its table, what is kept, what several comparisons share."""

from __future__ import annotations

import json
import re
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import pytest

from comparison_problems import FEW, Cut, Made, compare_in, counted, line_of, results, tiny, without_costs
from omnidistill.core.errors import InputError
from omnidistill.evaluation.baselines import baselines
from omnidistill.evaluation.validation import step_choices
from omnidistill.experiments.comparison import compare
from omnidistill.experiments.comparison.plan import plan_cells
from omnidistill.experiments.config.budgets import run_bytes
from omnidistill.experiments.run import heads_fingerprint, versions
from omnidistill.io.artifacts import load_artifact
from omnidistill.models.heads import save_heads
from omnidistill.report.comparison_table import to_csv, to_markdown
from omnidistill.report.latex import to_latex
from small_runs import features, packed, small_heads, widths

KINDS = ("hopa", "prototypes", "covmatch", "apm")
SEPARATE = "lors-separate"
EVERY = (*KINDS, SEPARATE)
RANDOM = {"kind": "random", "max_steps": 16}
BASELINES = ("zero-shot", "full", "random", "equal-bytes", "cca", "full-hopa", "full-pairwise-wbce")
"""Heads are 8 wide, so a rank of 8 does not restrict them and there is no row `low-rank`."""


@pytest.fixture(scope="module", params=[2, 3, 4], ids=["M=2", "M=3", "M=4"])
def every(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One method of each kind, one by pairs, and baselines."""
    folder, data = tmp_path_factory.mktemp("every"), features(request.param)
    comparison = tiny(
        *EVERY, layout="variants", baselines=[*BASELINES[:2], RANDOM, *BASELINES[3:5], "low-rank", "full-own"]
    )
    return Made.make(folder, data, comparison, name="all", command="typed")


# a whole one


def test_every_method_and_baseline_has_its_line(every: Made) -> None:
    content = every.compared.content.to_json()
    names = [f"{name}@8" if name in (*BASELINES[2:4], *EVERY) else name for name in (*BASELINES, *EVERY)]
    assert [line["name"] for line in content["lines"]] == names
    directions = {"mean", *("->".join(pair) for pair in permutations(every.data.modalities, 2))}
    for line in content["lines"]:
        assert line["kind"] == ("method" if line["method"] in EVERY else "reference")
        assert set(line["recall"]) == directions
        assert line["failures"] == []
    assert every.compared.failures == {}


def test_the_table_is_written_in_every_form(every: Made) -> None:
    folder, content = every.folder / "C", every.compared.content
    assert every.compared.file(".md") == folder / "all.md"
    assert json.loads((folder / "all.json").read_text("utf-8")) == content.to_json()
    for suffix, render in (("md", to_markdown), ("csv", to_csv), ("tex", to_latex)):
        assert (folder / f"all.{suffix}").read_text("utf-8") == render(content)


def test_the_table_tells_what_it_is_of(every: Made) -> None:
    content = every.compared.content.to_json()
    start = load_artifact(every.folder / "C" / "heads", "heads").tensors
    told = {
        "schema": 1,
        "name": "all",
        "command": "typed",
        "layout": "variants",
        "versions": versions(),
        "heads": heads_fingerprint(start),
        "seeds": [0],
        "num_students": 2,
        "data": {
            "name": "planted",
            "widths": every.data.widths,
            "rows": every.data.split_sizes,
            "bytes": every.data.split("train").bytes,
        },
    }
    assert {key: content[key] for key in told} == told


def test_sets_of_pairs_are_counted_together(every: Made) -> None:
    """The files of every pair, which contain rows, a diagonal and two factors of rank 2."""
    pairs = list(combinations(widths(len(every.data.modalities)).values(), 2))
    line = line_of(every.compared.content, f"{SEPARATE}@8")
    tensors = sum(4 * 8 * (sum(pair) + 1 + 2 * 2) for pair in pairs)
    assert tensors < line["bytes"] < tensors + 2000 * len(pairs)
    (config,) = {cell.config for cell in plan_cells(tiny(SEPARATE), every.data)}
    assert line["bytes"] == run_bytes(config, every.data.widths, every.data.preprocessing)
    judgements = len(pairs) * 3  # after iterations 2 and 4, and at the start; each of four numbers of steps or more
    assert judgements * 4 <= line["choices"] <= judgements * len(step_choices(2))


# what is there is not made again


def test_going_on_in_a_finished_folder_makes_nothing(made: Made, copied: Path) -> None:
    before, progress = results(copied), Cut()
    again = made.compare(copied, FEW, resume=True, progress=progress)
    assert again.content == made.compared.content
    assert results(copied) == before
    assert progress.seen == []


def test_interrupted_often_it_ends_with_the_table_of_an_uninterrupted_one(made: Made, tmp_path: Path) -> None:
    """Cut in every kind of stage; what was finished before a cut is not touched again."""
    before: dict[str, Any] = {}
    for stage, after, finished in (
        ("heads", 1, 0),
        ("full-s0: train", 0, 1),
        ("equal-bytes-n8-s0: train", 0, 2),
        ("apm-n8-s0: choose", 1, 3),
        ("hopa-n8-s0: experts", 1, 4),
        ("hopa-n8-s0: distill", 1, 4),
        ("hopa-n8-s1: distill", 1, 6),
    ):
        with pytest.raises(KeyboardInterrupt):
            made.compare(tmp_path / "C", FEW, resume=True, progress=Cut(stage, after))
        found = results(tmp_path / "C")
        assert sum(name.endswith("manifest.json") for name in found) == finished
        assert before.items() <= found.items()
        assert not (tmp_path / "C" / "comparison.json").exists()
        before = found
    ended = made.compare(tmp_path / "C", FEW, resume=True)
    assert before.items() <= results(tmp_path / "C").items()
    assert without_costs(ended.content) == without_costs(made.compared.content)


def test_progress_names_the_cell_and_how_many_there_are(made: Made, tmp_path: Path) -> None:
    progress = Cut()
    made.compare(tmp_path / "C", tiny("apm", seeds=(3,), baselines=[]), progress=progress)
    assert progress.seen[:2] == ["heads", "1/3 zero-shot-s3: train"]
    assert re.fullmatch(r"2/3 \(about \d+ s left\) full-s3: train", progress.seen[2])
    assert re.fullmatch(r"3/3 \(about \d+ s left\) apm-n8-s3: choose the recipe for 8 rows", progress.seen[3])


def test_another_comparison_in_the_folder_takes_what_is_there(made: Made, copied: Path) -> None:
    before, table = results(copied), (copied / "comparison.json").read_bytes()
    wider = tiny("apm", "herding", sizes=(8, 12), seeds=(0, 1, 2), baselines=["equal-bytes"])
    with counted() as calls:
        added = made.compare(copied, wider, name="wider", resume=True)
    new = {seed: [("apm", seed), ("select", seed)] for seed in (0, 1, 2)}
    assert calls == [("select", 0), *new[0], ("select", 1), *new[1], *new[2], *new[2]]
    assert before.items() <= results(copied).items()
    assert (copied / "comparison.json").read_bytes() == table
    assert (
        json.loads((copied / "wider.json").read_text("utf-8"))["seeds"] == added.content.to_json()["seeds"] == [0, 1, 2]
    )
    for name in ("zero-shot", "full"):  # heads of equal bytes are of other bytes, as HoPA has the largest set
        assert line_of(added.content, name) == line_of(made.compared.content, name)


def test_a_new_label_makes_nothing_anew(made: Made, copied: Path) -> None:
    named = tiny("apm", {"preset": "hopa", "label": "ours"}, seeds=(0, 1), baselines=["equal-bytes"])
    with counted() as calls:
        again = made.compare(copied, named, resume=True).content
    assert calls == []
    assert line_of(again, "hopa@8") == {**line_of(made.compared.content, "hopa@8"), "label": "ours"}


def test_a_cut_cell_goes_on_under_a_new_label(made: Made, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        made.compare(tmp_path / "C", tiny("hopa", baselines=[]), progress=Cut("distill", 1))
    named = tiny({"preset": "hopa", "label": "ours"}, baselines=[])
    ended = made.compare(tmp_path / "C", named, resume=True)
    assert ended.failures == {}
    assert line_of(ended.content, "hopa@8")["label"] == "ours"


def test_the_best_on_all_rows_is_chosen_from_baselines_that_are_trained_once(made: Made, tmp_path: Path) -> None:
    """In memory, in a folder and on workers; also after a table without it, which stored what it needs."""
    trained: list[str] = []

    def counting(fit: Any) -> Any:
        return lambda baseline, setting: trained.append(baseline.kind) or fit(baseline, setting)

    plain, best = tiny("apm", baselines=["cca"]), tiny("apm", baselines=["best"])
    names = ("full", "cca", "cca-infonce", "cca-stacked", "best")
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            kind = baselines.get(name)
            patch.setattr(kind, "fit", counting(kind.fit))
        made.compare(tmp_path / "C", plain)
        assert trained == ["full", "cca"]
        found = made.compare(tmp_path / "C", best, resume=True)
        assert trained == list(names)
    assert found.failures == {}
    rows = {row.method: row for row in found.content.rows}
    assert list(rows) == ["zero-shot", "full", "cca", "cca-infonce", "cca-stacked", "best", "apm"]
    chosen = {"InfoNCE": "full", "ridge CCA": "cca", "InfoNCE from CCA": "cca-infonce", "CCA + initial heads":
              "cca-stacked"}[rows["best"].label.removeprefix("best on all rows (").removesuffix(")")]  # fmt: skip
    assert rows["best"].recall == rows[chosen].recall
    assert rows["best"].bytes == rows[chosen].bytes
    in_memory = compare(made.data, config=best, heads=small_heads(made.data), device="cpu", progress=False)
    again = compare(
        made.data, config=best, heads=small_heads(made.data), folder=tmp_path / "D", device="cpu", progress=False
    )
    assert without_costs(in_memory.content) == without_costs(again.content)


def test_the_best_is_chosen_from_baselines_with_their_own_settings(made: Made, tmp_path: Path) -> None:
    """CCA with another ridge is the one of the table, and a new ridge computes what depends on it again."""
    contents = {}
    for ridge in (0.3, 100.0):
        one = tiny("apm", baselines=[{"kind": "cca", "ridges": [ridge]}, "best"])
        contents[ridge] = made.compare(tmp_path / "C", one, resume=(tmp_path / "C").exists()).content
        stored = [path for path in (tmp_path / "C" / "baselines").iterdir() if path.name.startswith("cca-s0")]
        assert len(stored) == len(contents)
    for name in ("cca", "cca-infonce", "cca-stacked"):
        assert line_of(contents[0.3], name)["recall"] != line_of(contents[100.0], name)["recall"]
    assert line_of(contents[0.3], "full")["recall"] == line_of(contents[100.0], "full")["recall"]


# what is given


def test_given_heads_are_where_every_student_starts(made: Made, tmp_path: Path) -> None:
    given = small_heads(made.data, seed=7)
    save_heads(given, tmp_path / "H", {})
    compared = made.compare(tmp_path / "C", tiny("apm", baselines=[]), heads=tmp_path / "H")
    assert compared.content.heads == heads_fingerprint(given)
    again = made.compare(tmp_path / "C", tiny("apm", baselines=[]), resume=True)
    assert again.content == compared.content
    save_heads(small_heads(made.data), tmp_path / "OTHER", {})
    with pytest.raises(InputError, match="differ from the given heads"):
        made.compare(tmp_path / "C", tiny("apm"), heads=tmp_path / "OTHER", resume=True)


def test_some_of_the_modalities(made: Made, tmp_path: Path) -> None:
    """The same table as over data that have no others."""
    packed(tmp_path / "PART", made.data.only(("a", "c")))
    plain = tiny("apm", SEPARATE, baselines=[])
    chosen = plain.evolve(settings=(*plain.settings, 'modalities=["a", "c"]'))
    found = made.compare(tmp_path / "C", chosen).content
    expected = compare_in(tmp_path / "PART", plain, tmp_path / "D").content
    assert without_costs(found) == without_costs(expected)
    assert set(line_of(found, f"{SEPARATE}@8")["recall"]) == {"mean", "a->c", "c->a"}


def test_other_metrics_come_from_stored_rankings(made: Made, copied: Path) -> None:
    """Nothing is distilled, trained or ranked again for another table of the same sets."""
    before = results(copied)
    few = FEW.evolve(settings=(*FEW.settings, 'evaluate.metrics=["R@3", "mAP"]'))
    with counted() as calls:
        table = made.compare(copied, few, name="other", resume=True).content
    assert calls == []
    assert results(copied) == before
    for row in table.rows:
        assert row.recall is not None
        assert (list(row.recall["mean"]), list(row.metrics["a->b"])) == (["R@3"], ["mAP"])


def test_a_cut_off_beyond_the_gallery_is_refused_before_any_work(made: Made, tmp_path: Path) -> None:
    many = FEW.evolve(settings=(*FEW.settings, 'evaluate.metrics=["R@1000"]'))
    with pytest.raises(InputError, match="metrics: R@1000 is undefined, because the gallery of 'a' has only"):
        made.compare(tmp_path / "C", many)
    assert not (tmp_path / "C").exists()
