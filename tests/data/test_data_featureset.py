import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.fingerprint import fingerprint
from omnidistill.data.planted import planted
from omnidistill.data.preprocessing import EPSILON, Preprocessing
from omnidistill.data.raw import RawFeatures
from simulated_device import simulated_device

ROWS = {"heads": 6, "train": 10, "validation": 4, "test": 8}
PLAIN = Preprocessing(True, EPSILON, {})


def parts(**changes):
    base = {
        "features": {"a": torch.ones(3, 2), "b": torch.ones(3, 4)},
        "ids": ("x", "y", "z"),
        "groups": ("x", "y", "y"),
        "splits": ("train", "test", "test"),
        "pairing": None,
        "preprocessing": PLAIN,
        "provenance": {},
    }
    return base | changes


@pytest.fixture(scope="module")
def whole():
    return prepare(planted({"a": 5, "b": 7, "c": 3}, ROWS, positives_per_group=2))


def test_what_a_set_says_of_itself(whole):
    assert whole.modalities == ("a", "b", "c")
    assert whole.widths == {"a": 5, "b": 7, "c": 3}
    assert len(whole) == 28
    assert whole.bytes == 28 * 15 * 4 == sum(x.nbytes for x in whole.features.values())
    assert whole.split_sizes == ROWS
    assert whole.group_codes.tolist() == [row // 2 for row in range(28)]


def test_group_codes_count_by_first_appearance():
    made = FeatureSet(**parts(groups=("q", "b", "b")))
    assert made.group_codes.tolist() == [0, 1, 1]
    assert made.group_codes.dtype == torch.int64


def bad(value, row, column):
    x = torch.ones(3, 4)
    x[row, column] = value
    return {"a": torch.ones(3, 2), "b": x}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"features": {"a": torch.ones(3, 2)}}, "found only 'a'; a paired dataset needs at least two modalities"),
        ({"features": {}}, "found none; a paired dataset needs at least two modalities"),
        ({"features": {"a": torch.ones(3, 2), "b": torch.ones(4, 2)}}, "'b': 4 rows, but there are 3 ids"),
        ({"features": {"a": torch.ones(3, 2), "b": torch.ones(3)}}, r"'b': shape is \(3,\)"),
        ({"features": {"a": torch.ones(3, 2), "b": torch.ones(3, 0)}}, r"'b': shape is \(3, 0\)"),
        ({"features": {"a": torch.ones(3, 2), "b": torch.ones(3, 2).half()}}, "'b'.*float32, found float16"),
        ({"features": {"a": torch.ones(3, 2), "b": torch.ones(3, 2).long()}}, "'b'.*float32, found int64"),
        ({"features": {"a": torch.ones(3, 2), "../b": torch.ones(3, 2)}}, "this name is not allowed"),
        ({"features": bad(float("nan"), 2, 3)}, r"'b', row 2 \(id 'z'\), column 3: the value is nan"),
        ({"features": bad(float("inf"), 1, 0)}, r"'b', row 1 \(id 'y'\), column 0: the value is inf"),
        ({"features": bad(float("-inf"), 0, 1)}, r"'b', row 0 \(id 'x'\), column 1: the value is -inf"),
        ({"ids": ("x", "y", "x")}, "id 'x': row 0 and row 2 both"),
        ({"groups": ("x", "y")}, "groups: 2 rows"),
        ({"splits": ("train", "test")}, "splits: 2 rows"),
        ({"splits": ("train", "tset", "tset")}, "'tset'.*did you mean 'test'"),
        ({"splits": ("train", "train", "test")}, "group 'y': contains rows of split 'train' and of split 'test'"),
        ({"pairing": torch.ones(2, 3)}, r"has dtype float32 and shape \(2, 3\), but"),
        ({"pairing": torch.ones(3, 3).long()}, "pairing: the similarity matrix has dtype int64"),
        ({"pairing": torch.full((3, 3), 1.5)}, "from 1.5 to 1.5"),
        ({"pairing": torch.full((3, 3), -0.5)}, "from -0.5"),
        ({"pairing": torch.full((3, 3), float("nan"))}, "nan"),
        (
            {"preprocessing": Preprocessing(True, EPSILON, {"a": torch.ones(2)})},
            "'b': the features have width 4, but the preprocessing has no mean for this modality",
        ),
        (
            {"preprocessing": Preprocessing(True, EPSILON, {"a": torch.ones(2), "b": torch.ones(3)})},
            "'b': the features have width 4",
        ),
    ],
)
def test_a_set_that_is_not_sound_is_refused_in_one_line(changes, names):
    with pytest.raises(InputError, match=names) as caught:
        FeatureSet(**parts(**changes))
    assert "\n" not in str(caught.value)


def test_no_rows_are_refused():
    nothing = {"features": {"a": torch.ones(0, 2), "b": torch.ones(0, 2)}, "ids": (), "groups": (), "splits": ()}
    with pytest.raises(InputError, match="no rows"):
        FeatureSet(**parts(**nothing))


@given(st.lists(st.integers(0, 27), unique=True, min_size=1))
@settings(deadline=None, max_examples=30)
def test_select_takes_the_rows_and_what_belongs_to_them(rows):
    whole = prepare(planted({"a": 5, "b": 7}, ROWS, positives_per_group=2))
    whole = dataclasses.replace(whole, pairing=torch.rand(28, 28, generator=torch.Generator().manual_seed(0)))
    for chosen in (whole.select(rows), whole.select(torch.tensor(rows))):
        checked = FeatureSet(**{field.name: getattr(chosen, field.name) for field in dataclasses.fields(chosen)})
        assert len(checked) == len(rows)
        for here, row in enumerate(rows):
            assert (chosen.ids[here], chosen.groups[here]) == (whole.ids[row], whole.groups[row])
            assert chosen.splits[here] == whole.splits[row]
            assert all(torch.equal(x[here], whole.features[name][row]) for name, x in chosen.features.items())
            for there, other in enumerate(rows):
                assert chosen.pairing[here, there] == whole.pairing[row, other]


@given(st.permutations(range(28)))
@settings(deadline=None, max_examples=20)
def test_splits_partition_the_rows_and_keep_their_order(order):
    whole = prepare(planted({"a": 5, "b": 7}, ROWS)).select(order)
    split = [whole.split(name) for name in whole.split_sizes]
    assert sorted(name for part in split for name in part.ids) == sorted(whole.ids)
    for part in split:
        assert list(part.ids) == [name for name in whole.ids if name in set(part.ids)]
        assert set(part.splits) == {part.splits[0]}


def test_a_set_is_moved_with_what_is_computed_from_it(whole):
    paired = dataclasses.replace(whole, pairing=torch.eye(len(whole)))
    with simulated_device() as device:
        there = paired.to(device)
        assert {x.device for x in (*there.features.values(), there.pairing, there.group_codes)} == {device}
        for part in (there.select([4, 2]), there.split("test"), there.only(["a", "c"])):
            assert {x.device for x in (*part.features.values(), part.pairing, part.group_codes)} == {device}
        back = there.select([4, 2]).to("cpu")
        assert fingerprint(there) == fingerprint(paired)
        development = there.development()
        assert development.to("cpu").train.device == development.to("cpu").heads.device == torch.device("cpu")
    assert torch.equal(back.pairing, torch.eye(2))
    assert all(torch.equal(back.features[name], x[[4, 2]]) for name, x in whole.features.items())


def test_a_set_that_is_there_already_is_returned(whole):
    assert whole.to("cpu") is whole
    assert whole.to(torch.device("cpu")) is whole


def test_a_selection_is_a_copy(whole):
    chosen = whole.select([0, 1])
    chosen.features["a"].zero_()
    assert whole.features["a"][0].abs().max() > 0


@pytest.mark.parametrize("names", [("a", "c"), ("c", "a"), ("b", "a"), ("a", "b", "c"), ("a", "c", "a")])
def test_only_keeps_these_modalities_in_the_order_of_the_set(whole, names):
    paired = dataclasses.replace(whole, pairing=torch.eye(28))
    part = paired.only(names)
    kept = tuple(name for name in "abc" if name in names)
    assert part.modalities == tuple(part.preprocessing.means) == kept
    assert part.widths == {name: whole.widths[name] for name in kept}
    assert all(torch.equal(x, whole.features[name]) for name, x in part.features.items())
    for name in kept:
        assert torch.equal(part.preprocessing.means[name], whole.preprocessing.means[name])
    assert (part.ids, part.groups, part.splits) == (whole.ids, whole.groups, whole.splits)
    assert (part.pairing is paired.pairing, part.provenance) == (True, whole.provenance)
    FeatureSet(**{field.name: getattr(part, field.name) for field in dataclasses.fields(part)})  # sound
    assert whole.modalities == ("a", "b", "c")


def test_only_comes_before_or_after_a_choice_of_rows(whole):
    one, other = whole.only(("b", "c")).split("train"), whole.split("train").only(("b", "c"))
    assert (one.ids, one.group_codes.tolist()) == (other.ids, other.group_codes.tolist())
    assert all(torch.equal(x, other.features[name]) for name, x in one.features.items())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "d"), r"modality 'd': not in the dataset, which has the modalities a, b, c"),
        (("a",), r"modalities \['a'\]: a paired dataset needs at least two"),
        (("a", "a"), "needs at least two"),
        ((), "needs at least two"),
    ],
)
def test_modalities_that_make_no_set(whole, names, message):
    with pytest.raises(InputError, match=message):
        whole.only(names)


@pytest.mark.parametrize(
    ("rows", "names"),
    [([], "at least one"), ([28], "between 0 and 27"), ([-1], "from -1"), ([3, 3], "twice")],
)
def test_rows_that_cannot_be_selected(whole, rows, names):
    with pytest.raises(InputError, match=names):
        whole.select(rows)


def test_a_missing_split_lists_what_exists(whole):
    with pytest.raises(InputError, match=r"'train': no rows; the splits with rows are test \(8\)"):
        whole.split("test").split("train")


def test_development_holds_no_test_row(whole):
    development = whole.development()
    seen = {*development.heads.ids, *development.train.ids, *development.validation.ids}
    assert seen == {name for name, split in zip(whole.ids, whole.splits, strict=True) if split != "test"}
    assert prepare(planted({"a": 5, "b": 7}, {"train": 3, "validation": 3})).development().heads is None
    with pytest.raises(InputError, match="'validation': no rows"):
        prepare(planted({"a": 5, "b": 7}, {"train": 3, "test": 3})).development()


def changed(raw, splits, by):
    rows = torch.tensor([split in splits for split in raw.splits])
    features = {name: torch.where(rows[:, None], x * 3 + by, x) for name, x in raw.features.items()}
    return dataclasses.replace(raw, features=features)


@given(st.floats(-5, 5), st.sampled_from(["heads", "validation", "test"]))
@settings(deadline=None, max_examples=20)
def test_rows_outside_train_change_no_mean_and_no_other_row(by, split):
    raw = planted({"a": 5, "b": 7}, ROWS)
    noise = torch.randn(28, 1, generator=torch.Generator().manual_seed(0)) * by
    one, other = prepare(raw), prepare(changed(raw, {split}, noise))
    for name in one.modalities:
        assert torch.equal(one.preprocessing.means[name], other.preprocessing.means[name])
    for kept in set(ROWS) - {split}:
        for name, x in one.split(kept).features.items():
            assert torch.equal(x, other.split(kept).features[name])


def test_train_rows_do_set_the_means():
    raw = planted({"a": 5, "b": 7}, ROWS)
    moved = torch.randn(28, 5, generator=torch.Generator().manual_seed(0))
    other = dataclasses.replace(raw, features={**raw.features, "a": raw.features["a"] + moved})
    assert not torch.equal(prepare(raw).preprocessing.means["a"], prepare(other).preprocessing.means["a"])


def test_prepare_applies_the_recorded_steps_and_no_others():
    raw = planted({"a": 5, "b": 7}, ROWS)
    for standardise in (True, False):
        for centre in (True, False):
            made = prepare(raw, standardise, centre)
            assert made.preprocessing.standardise is standardise
            assert bool(made.preprocessing.means) is centre
            again = made.preprocessing.apply(raw.features)
            assert all(torch.equal(x, again[name]) for name, x in made.features.items())
            if centre:
                rows = made.split("train").features["a"]
                assert rows.mean(0).square().sum() < 1e-3 * rows.square().sum(1).mean()


@pytest.mark.parametrize(
    ("standardise", "row"), [(True, torch.full((5,), 0.1)), (True, torch.zeros(5)), (False, torch.zeros(5))]
)
def test_a_vector_without_direction_is_refused(standardise, row):
    raw = planted({"a": 5, "b": 7}, ROWS)
    raw.features["a"][9] = row
    with pytest.raises(InputError, match=r"'a', row 9 \(id 'train-3'\): .*a zero vector"):
        prepare(raw, standardise)


def test_a_constant_row_has_a_direction_where_rows_are_not_standardised():
    raw = planted({"a": 5, "b": 7}, ROWS)
    raw.features["a"][9] = 0.1
    prepare(raw, standardise=False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_what_is_not_finite_is_named_in_raw_features_too(dtype):
    raw = planted({"a": 5, "b": 7}, ROWS)
    features = {name: x.to(dtype) for name, x in raw.features.items()}
    features["b"][27, 6] = float("nan")
    with pytest.raises(InputError, match=r"'b', row 27 \(id 'test-7'\), column 6: the value is nan"):
        prepare(dataclasses.replace(raw, features=features))


@pytest.mark.parametrize("size", [1e25, 1e300])
def test_values_whose_squares_float32_cannot_hold_are_refused(size):
    features = {"a": torch.eye(3).double() * size, "b": torch.eye(3)}
    raw = RawFeatures(features, ("x", "y", "z"), ("x", "y", "z"), ("train",) * 3, {})
    with pytest.raises(InputError, match=r"'a', row 0 \(id 'x'\), column 0: the value is 1e"):
        prepare(raw)


def test_a_single_train_row_is_no_mean_to_centre_by():
    raw = planted({"a": 5, "b": 7}, {"test": 2, "train": 1})
    with pytest.raises(InputError, match=r"'a', row 2 \(id 'train-0'\): equal to the subtracted mean"):
        prepare(raw)
    prepare(raw, centre=False)


def test_no_train_rows_to_centre_by():
    raw = planted({"a": 5, "b": 7}, {"test": 4})
    with pytest.raises(InputError, match="'train': no rows"):
        prepare(raw)
    assert not prepare(raw, centre=False).preprocessing.means
