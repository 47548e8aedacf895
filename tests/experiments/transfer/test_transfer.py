"""`transfer`: what each option computes, the table, several runs and encoders, files, and data that do not fit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.data.datasets import load
from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.raw import RawFeatures
from omnidistill.data.store import save_features
from omnidistill.evaluation.validation import validation_score
from omnidistill.experiments.evaluate_run import evaluate
from omnidistill.experiments.run import DistillResult
from omnidistill.experiments.transfer import Transfer, transfer
from omnidistill.experiments.transfer.shared_items import shared_training_rows
from omnidistill.experiments.transfer.train_transferred import best_of_sets
from omnidistill.experiments.transfer.transfer_settings import load_transfer
from omnidistill.experiments.transfer.transferred_sets import Option, Source, SourceRun, options_of
from omnidistill.models.storages.coded import CodedStorage
from omnidistill.training.recipes.anchor_regression import Anchor
from transfer_problems import FAST, SIZE, new, old, result, training_ids, without_rows

OPTIONS = ["mixture, learned", "mixture, fitted to the set", "nearest item per modality", "nearest item",
           "map between encoders"]  # fmt: skip
BASELINES = ["initial heads", "random rows", "group means"]
REFERENCES = ["distilled directly", "all rows, CCA", "all rows, InfoNCE"]


@cache
def table(*to: str) -> Transfer:
    """A table; do not change it."""
    named = {"new": new, "old": old}
    return transfer(result(), [named[name]() for name in to], data=old(), settings=FAST, device="cpu", progress=False)


@cache
def options() -> dict[str, Option]:
    source = Source(SourceRun(result(), old()), *shared_training_rows(old().split("train"), new()), "error")
    return {option.name: option for option in options_of(source, FAST, None)}


def test_the_table_has_all_options_and_baselines() -> None:
    (target,) = table("new").content.targets
    rows = {row.name: row for row in target.rows}
    assert list(rows) == [*BASELINES, *OPTIONS, *REFERENCES]
    direct, random = rows["distilled directly"], rows["random rows"]
    assert direct.share is not None
    for level in target.levels:
        for row in rows.values():
            interval = row.recall[level]
            assert interval is not None
            mean = np.mean([values[level] for values in row.directions.values()])
            assert interval.mean == pytest.approx(mean)
            assert interval.low <= interval.mean <= interval.high
    assert random.improvement is random.share is None
    assert rows["initial heads"].bytes is None
    assert {rows[name].coverage.number for name in OPTIONS} == {1}
    assert random.coverage.number == FAST.evaluate.num_seeds
    assert rows["nearest item"].bytes == sum(len(name) + 1 for name in nearest_ids())
    assert rows["all rows, CCA"].needs == "all 64 items"


def test_a_row_has_the_recall_of_its_heads() -> None:
    """Direct distillation: as `evaluate` scores the same set with the ridges that were chosen."""
    (target,) = table("old").content.targets
    row = next(row for row in target.rows if row.name == "distilled directly")
    (settings,) = row.settings
    recipe = Anchor(ridges=tuple(settings["ridges"]), weight=1.0)
    own = replace(result().parts[0], distilled=result().set.with_recipe(recipe))
    scores = evaluate(replace(result(), parts=(own,)), old(), num_seeds=2, baselines=(), device="cpu", progress=False)
    for level, recall in scores.scores.distilled.recall["mean"].items():
        interval = row.recall[level]
        assert interval is not None
        assert interval.mean == pytest.approx(recall.mean)


def nearest_ids() -> list[str]:
    """By hand in numpy: the item with the largest sum of cosines."""
    train, total = old().split("train"), np.zeros((SIZE, 64))
    for name, rows in result().set.rows().items():
        x, f = rows.double().numpy(), train.features[name].double().numpy()
        total += (x @ f.T) / np.linalg.norm(x, axis=1, keepdims=True) / np.linalg.norm(f, axis=1)
    return [train.ids[row] for row in total.argmax(1)]


def test_nearest_items_are_encoded_again() -> None:
    rows = options()["nearest item"].sets[""].rows()
    place = {name: row for row, name in enumerate(new().ids)}
    index = [place[name] for name in nearest_ids()]
    for name, x in rows.items():
        torch.testing.assert_close(x, new().features[name][index])
    assert options()["nearest item"].needs == f"{len(set(index))} items"


def test_a_map_is_the_ridge_regression_between_encoders() -> None:
    """By hand in numpy, with rows of the original root mean squares."""
    train, other = old().split("train"), new().split("train")
    for name, x in options()["map between encoders"].sets["ridge 0.1"].rows().items():
        f, g = train.features[name].double().numpy(), other.features[name].double().numpy()
        centred, s = f - f.mean(0), result().set.rows()[name].double().numpy()
        gram = centred.T @ centred
        matrix = np.linalg.solve(gram + 0.1 * np.diag(gram).mean() * np.eye(len(gram)), centred.T @ (g - g.mean(0)))
        mapped = (s - f.mean(0)) @ matrix + g.mean(0)
        mapped *= np.sqrt(np.mean(s**2, 1, keepdims=True) / np.mean(mapped**2, 1, keepdims=True))
        np.testing.assert_allclose(x.numpy(), mapped, atol=1e-4)


def test_a_fitted_mixture_on_the_same_encoder_is_close_to_the_set() -> None:
    """Apart from the lengths of rows, which a mixture does not keep."""
    pair = shared_training_rows(old().split("train"), old())
    source = Source(SourceRun(result(), old()), *pair, "error")
    settings = FAST.evolve(mixture_ridges=(0.01,))
    fitted = next(o for o in options_of(source, settings, None) if o.name == "mixture, fitted to the set")
    for name, x in fitted.sets["ridge 0.01"].rows().items():
        cosines = torch.nn.functional.cosine_similarity(x, result().set.rows()[name])
        assert float(cosines.min()) > 0.9


def test_validation_chooses_among_the_sets_of_an_option() -> None:
    sets, validation = options()["map between encoders"].sets, new().split("validation")
    best = best_of_sets(sets, {}, validation, "anchor", FAST)
    assert best.score == validation_score(best.heads, validation)
    for name, each in sets.items():
        alone = best_of_sets({name: each}, {}, validation, "anchor", FAST)
        assert alone.score <= best.score


def test_several_encoders_give_an_overview() -> None:
    both = table("new", "old")
    assert [target.name for target in both.content.targets] == ["planted (1)", "planted (2)"]
    assert both.content.targets[0].rows[0].recall == table("new").content.targets[0].rows[0].recall
    assert both.table().startswith("**R@1 in % on every new encoder (share of direct distillation)**")


def test_several_runs_are_units() -> None:
    settings = FAST.evolve(options=("mixture",), references=())
    runs = [result("mixture"), result("mixture", seed=1)]
    several = transfer(runs, new(), data=old(), settings=settings, device="cpu", progress=False)
    (target,) = several.content.targets
    rows = {row.name: row for row in target.rows}
    assert list(rows) == [*BASELINES, "mixture", "distilled directly"]
    assert rows["mixture"].coverage.number == rows["distilled directly"].coverage.number == 2
    assert len(rows["mixture"].settings) == several.content.seeds[1] + 1 == 2
    sets = [each.set.realise(new()) for each in runs]
    heads = [best_of_sets({"": each}, {}, new().split("validation"), "anchor", FAST).heads for each in sets]
    assert any(not torch.equal(heads[0][name], heads[1][name]) for name in heads[0])


def test_sets_with_the_recipe_sgd() -> None:
    """Views, learned similarities and other objectives stay those of the set."""
    run = result("smoke", "distill.similarity.rank=2", "distill.storage.views=2")
    settings = FAST.evolve(options=("nearest", "map"), references=())
    table = transfer(run, new(), data=old(), settings=settings, device="cpu", progress=False)
    assert table.content.recipe == "sgd"
    (target,) = table.content.targets
    names = [row.name for row in target.rows]
    assert names == [*BASELINES, *OPTIONS[2:], "distilled directly"]
    mapped = target.rows[names.index("map between encoders")]
    assert "recipe" in mapped.settings[0]
    assert "map between encoders" in table.page()


def test_rendered_rows_are_preprocessed_like_the_new_data(tmp_path: Path) -> None:
    raw = {name: torch.randn(SIZE, p, generator=torch.Generator().manual_seed(p)) for name, p in new().widths.items()}
    for name, x in raw.items():
        np.save(tmp_path / f"{name}.npy", x.numpy())
    pair = shared_training_rows(old().split("train"), new())
    source, few = Source(SourceRun(result(), old()), *pair, "error"), FAST.evolve(options=("nearest",))
    *_, rendered = options_of(source, few, tmp_path)
    assert (rendered.name, rendered.needs) == ("rendered", "none")
    for name, x in new().preprocessing.apply(raw).items():
        torch.testing.assert_close(rendered.sets[""].rows()[name], x)
    np.save(tmp_path / "b.npy", np.zeros((SIZE - 1, 17), np.float32))
    with pytest.raises(InputError, match=r"b.npy: has shape \(5, 17\), expected \(6, 17\); encode the media"):
        list(options_of(source, few, tmp_path))
    (tmp_path / "b.npy").unlink()
    with pytest.raises(InputError, match=r"b.npy: no such file; pass the folder that 'omnidistill encode' wrote"):
        list(options_of(source, few, tmp_path))


def test_rendered_rows_can_be_a_dataset(tmp_path: Path) -> None:
    """`encode` centres the features by their own means; the option centres them by those of the new data."""
    draw = torch.Generator().manual_seed(0)
    raw = {name: 2 + torch.randn(SIZE, p, generator=draw) for name, p in new().widths.items()}
    ids = tuple(f"row-{row}" for row in range(SIZE))
    pair = shared_training_rows(old().split("train"), new())
    source, few = Source(SourceRun(result(), old()), *pair, "error"), FAST.evolve(options=())

    def write(name: str, rows: int = SIZE, **steps: bool) -> Path:
        part = {modality: raw[modality][:rows] for modality in reversed(raw)}  # the order does not matter
        save_features(
            prepare(RawFeatures(part, ids[:rows], ids[:rows], ("train",) * rows, {}), **steps), tmp_path / name
        )
        return tmp_path / name

    (rendered,) = options_of(source, few, write("all"))
    for name, x in new().preprocessing.apply(raw).items():
        torch.testing.assert_close(rendered.sets[""].rows()[name], x, atol=1e-5, rtol=1e-5)
    with pytest.raises(InputError, match=r"few: contains 5 rows, but the set has 6; render all rows of the set"):
        list(options_of(source, few, write("few", rows=SIZE - 1)))
    with pytest.raises(InputError, match=r"other: its preprocessing differs from that of planted in whether rows"):
        list(options_of(source, few, write("other", centre=False)))
    save_features(load(tmp_path / "all").only(["a", "b"]), tmp_path / "less")
    with pytest.raises(InputError, match="less: has no modality 'c'"):
        transfer(result(), new(), data=old(), settings=few, rendered=tmp_path / "less", progress=False)


def test_rounded_sets_are_not_rounded_twice() -> None:
    coded = result("anchor", 'distill.storage={kind="coded", bits=4.0}')
    assert isinstance(coded.set.spec.storage, CodedStorage)
    source = Source(SourceRun(coded, old()), *shared_training_rows(old().split("train"), new()), "error")
    for name, x in source.plain.rows().items():
        torch.testing.assert_close(x, coded.set.rows()[name])


def test_files_and_an_existing_table(tmp_path: Path) -> None:
    saved = table("new").save(tmp_path)
    tree = json.loads((tmp_path / "transfer.json").read_text("utf-8"))
    assert type(saved.content).from_json(tree, "transfer.json") == saved.content
    assert (tmp_path / "transfer.md").read_text("utf-8") == saved.table() + "\n"
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match=r"transfer.json: already exists; choose another folder, or use force"):
        transfer(result(), new(), data=old(), folder=tmp_path, settings=FAST, progress=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def other_groups(data: FeatureSet) -> FeatureSet:
    groups = list(data.groups)
    train = [row for row, split in enumerate(data.splits) if split == "train"]
    groups[train[0]] = "own"
    return replace(data, groups=tuple(groups))


def paired_by_matrix(data: FeatureSet) -> FeatureSet:
    return replace(data, pairing=torch.eye(len(data)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.only(["a", "b"]), "planted: has no modality 'c', which the set of the run needs"),
        (
            lambda data: without_rows(data, set(training_ids(data)[:2])),
            "planted: lacks 2 of the 64 training items of the run (train-0, train-1); add them, or continue",
        ),
        (
            lambda data: replace(data, ids=tuple(f"x{name}" for name in data.ids)),
            "planted: has only 0 of the 64 training items of the run; pass features that another encoder",
        ),
        (
            lambda data: replace(data, splits=tuple("heads" if s == "train" else s for s in data.splits)),
            "planted: 64 training items of the run are in another split (train-0, train-1, train-2, ...)",
        ),
        (other_groups, "planted: the groups differ from those of the run; group "),
        (paired_by_matrix, "planted: a matrix defines which rows match"),
    ],
)
def test_data_that_do_not_fit(change: Callable[[FeatureSet], FeatureSet], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as error:
        transfer(result(), change(new()), data=old(), settings=FAST, folder=tmp_path / "T", progress=False)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "T").exists()


def test_missing_items_can_be_dropped() -> None:
    fewer = without_rows(new(), set(training_ids(new())[:2]))
    settings = FAST.evolve(references=())
    dropped = transfer(result(), fewer, data=old(), settings=settings, missing="drop", device="cpu", progress=False)
    needs = {row.name: row.needs for row in dropped.content.targets[0].rows}
    assert needs["mixture, learned"] == needs["mixture, fitted to the set"] == "62 items"
    assert needs["map between encoders"] == "all 62 items, also by the old encoder"


def test_table_four_of_the_paper_is_a_preset() -> None:
    settings = load_transfer("paper-table-4")
    assert (settings.recipe, settings.evaluate.num_seeds) == ("sgd", 5)
    with pytest.raises(InputError, match="preset='crossed': not a preset of transfer; choose from paper-table-4"):
        load_transfer("crossed")


def test_runs_must_be_of_the_same_data() -> None:
    other: DistillResult = replace(result(), fingerprint="0" * 64)
    with pytest.raises(InputError, match="data: these are not the data of this result"):
        transfer([result(), other], new(), data=old(), settings=FAST, progress=False)
    with pytest.raises(InputError, match="rendered='R': rendered media can be used with only one set"):
        transfer(result(), [new(), old()], data=old(), rendered=Path("R"), settings=FAST, progress=False)
