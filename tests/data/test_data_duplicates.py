import torch

from omnidistill.data.duplicates import Duplicates, code_rows, find_leaks, repeated_in_test
from omnidistill.data.emoji import load_emoji
from omnidistill.data.raw import RawFeatures
from omnidistill.data.raw_rows import RawRows

SPLITS = ("heads", "train", "train", "validation", "test", "test", "test", "test")


def raw(dtype=torch.float32, groups=None, **copies):
    """Eight rows; `a={4: 1}` makes row 4 of modality a equal to its row 1."""
    features = {name: torch.randn(8, 3, generator=torch.Generator().manual_seed(i)) for i, name in enumerate("abc")}
    for name, pairs in copies.items():
        for row, source in pairs.items():
            features[name][row] = features[name][source]
    ids = tuple(f"r{row}" for row in range(8))
    return RawFeatures({name: x.to(dtype) for name, x in features.items()}, ids, groups or ids, SPLITS, {})


def coded(features):
    return code_rows(RawRows.of(features))


def found(features):
    return find_leaks(coded(features))


def test_rows_that_differ_are_no_duplicates():
    assert found(raw()) == ()
    assert found(raw(a={2: 1, 5: 4})) == ()


def test_test_rows_that_another_split_holds_are_named_per_modality():
    assert found(raw(a={4: 1, 6: 0}, b={7: 3})) == (
        Duplicates("a", "test", ("heads", "train"), 2, (("r4", "r1"), ("r6", "r0"))),
        Duplicates("b", "test", ("validation",), 1, (("r7", "r3"),)),
    )


def test_rows_equal_in_every_modality_are_named_apart():
    one = raw(torch.bfloat16, a={4: 1}, b={4: 1}, c={4: 1})
    assert found(one)[-1] == Duplicates(None, "test", ("train",), 1, (("r4", "r1"),))
    assert found(raw(a={4: 1}, b={4: 2}, c={4: 1}))[-1].modality == "c"


def test_validation_rows_that_are_trained_on_are_leaks_and_rows_of_heads_and_train_are_not():
    assert found(raw(a={3: 2}, b={3: 0}, c={1: 0})) == (
        Duplicates("a", "validation", ("train",), 1, (("r3", "r2"),)),
        Duplicates("b", "validation", ("heads",), 1, (("r3", "r0"),)),
    )


def test_rows_are_identical_by_their_values_in_float32():
    features = raw(torch.float64, a={4: 1, 5: 1, 6: 1})
    features.features["a"][1, 0], features.features["a"][4, 0] = 0.0, -0.0
    features.features["a"][5, 0], features.features["a"][6, 0] = 1e-60, 1e-6
    assert found(features) == (Duplicates("a", "test", ("train",), 2, (("r4", "r1"), ("r5", "r1"))),)


def test_codes_are_read_in_chunks():
    read = []
    features = raw(a={4: 1})
    rows = RawRows.of(features)
    chunked = RawRows(
        dict.fromkeys(rows.widths, 2**19),  # two rows fill a chunk
        rows.ids,
        rows.groups,
        rows.splits,
        rows.provenance,
        lambda name, numbers: read.append(len(numbers)) or rows.read(name, numbers),
    )
    assert find_leaks(code_rows(chunked)) == found(features)
    assert read == [2] * 12


def test_examples_are_the_first_three():
    leaks = found(raw(a={4: 1, 5: 1, 6: 1, 7: 1}))
    assert leaks == (Duplicates("a", "test", ("train",), 4, (("r4", "r1"), ("r5", "r1"), ("r6", "r1"))),)


def test_the_emoji_set_holds_the_one_leak_that_its_readme_names():
    astronauts = [(f"noto/{kind}-200d-1f680", "noto/1f469-200d-1f680") for kind in ("1f468", "1f9d1")]
    assert found(load_emoji()) == (Duplicates("image", "test", ("train",), 2, tuple(astronauts)),)


def test_repeats_within_test_count_unless_their_group_is_one():
    assert repeated_in_test(coded(raw(b={5: 4, 6: 4}, a={2: 1}))) == {"b": 3}
    shared = raw(b={5: 4}, groups=("0", "1", "2", "3", "same", "same", "6", "7"))
    assert repeated_in_test(coded(shared)) == {}
