from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnidistill.core.errors import InputError
from omnidistill.core.streams import Streams
from omnidistill.io.artifacts import read_tensors, write_tensors

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
GOLDEN = [3593969582717065995, 1437767588798474019]


def draw(streams: Streams, name: str, count: int = 5) -> torch.Tensor:
    return torch.randint(0, 2**62, (count,), generator=streams[name])


@given(st.integers(-(2**70), 2**70), st.lists(NAMES, min_size=2, max_size=5, unique=True), st.randoms())
@settings(deadline=None, max_examples=40)
def test_a_stream_depends_on_seed_and_name_only(seed: int, names: list[str], order: random.Random) -> None:
    alone = {name: draw(Streams(seed), name) for name in names}
    together = Streams(seed)
    order.shuffle(names)
    for name in names:
        together[name]
    for _ in range(2):  # interleaved, two draws at a time
        order.shuffle(names)
        for name in names:
            expected, alone[name] = alone[name][:2], alone[name][2:]
            assert torch.equal(torch.cat([draw(together, name, 1) for _ in range(2)]), expected)


@given(st.lists(st.tuples(st.integers(-9, 9), NAMES), min_size=2, max_size=6, unique=True))
@settings(deadline=None, max_examples=40)
def test_other_seeds_and_names_give_other_numbers(pairs: list[tuple[int, str]]) -> None:
    assert len({tuple(draw(Streams(seed), name).tolist()) for seed, name in pairs}) == len(pairs)


def test_seed_and_name_do_not_run_together() -> None:
    assert not torch.equal(draw(Streams(1), "1:a"), draw(Streams(11), ":a"))
    assert not torch.equal(draw(Streams(1), "1"), draw(Streams(11), ""))


def test_the_numbers_are_the_same_in_every_process_and_release() -> None:
    """A change here changes every result ever reported with a seed."""
    assert draw(Streams(0), "batches", 2).tolist() == GOLDEN
    code = (
        "import torch; from omnidistill.core.streams import Streams; torch.rand(3)\n"
        "print(torch.randint(0, 2**62, (2,), generator=Streams(0)['batches']).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(GOLDEN)


@given(st.integers(0, 9), st.dictionaries(NAMES, st.integers(0, 700), max_size=4), st.booleans())
@settings(deadline=None, max_examples=40)
def test_restored_streams_go_on_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, seed: int, drawn: dict[str, int], in_place: bool
) -> None:
    streams = Streams(seed)
    for name, count in drawn.items():
        torch.randn(count, generator=streams[name])  # randn keeps half a pair of numbers back for its next call
    path = tmp_path_factory.getbasetemp() / "streams.safetensors"
    write_tensors(path, streams.state())
    names = [*drawn, "made later"]
    held = {name: streams[name] for name in names}
    expected = {name: torch.randn(7, generator=held[name]) for name in names}

    again = streams if in_place else Streams(seed)
    again.restore(read_tensors(path))
    for name in names:
        assert torch.equal(torch.randn(7, generator=again[name]), expected[name])
        assert (again[name] is held[name]) == in_place  # who holds a generator holds the restored one


def test_state_is_a_copy_and_fits_a_checkpoint() -> None:
    streams = Streams(3)
    streams["a"]
    state = streams.state()
    kept = {key: value.clone() for key, value in state.items()}
    draw(streams, "a", 2000)
    assert all(torch.equal(state[key], kept[key]) for key in kept)
    assert {(value.dtype, value.ndim) for value in state.values()} == {(torch.uint8, 1)}


def broken(change: str) -> dict[str, torch.Tensor]:
    streams = Streams(3)
    draw(streams, "a"), draw(streams, "b")
    state = streams.state()
    match change:
        case "no seed":
            del state["seed"]
        case "other seed":
            state = Streams(4).state()
        case "seed of another type":
            state["seed"] = torch.tensor([51])
        case "seed no text":
            state["seed"] = torch.tensor([255], dtype=torch.uint8)
        case "unknown field":
            state["a"] = state["stream.a"]
        case "too short":
            state["stream.a"] = state["stream.a"][:-1]
        case "too long":
            state["stream.a"] = torch.cat([state["stream.a"], state["stream.a"]])
        case "empty":
            state["stream.a"] = state["stream.a"][:0]
        case "other type":
            state["stream.b"] = state["stream.b"].float()
        case "random bytes":
            state["stream.b"] = (torch.arange(len(state["stream.b"])) * 151 % 256).byte()
    return state


@pytest.mark.parametrize(
    "change",
    [
        "no seed",
        "other seed",
        "seed of another type",
        "seed no text",
        "unknown field",
        "too short",
        "too long",
        "empty",
        "other type",
        "random bytes",
    ],
)
def test_a_malformed_state_is_refused_and_changes_nothing(change: str) -> None:
    streams = Streams(3)
    draw(streams, "a")
    before = streams.state()
    with pytest.raises(InputError, match=r"random generators: .*field '"):
        streams.restore(broken(change))
    after = streams.state()
    assert set(after) == set(before)
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_global_generators_are_neither_moved_nor_read() -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    streams = Streams(0)
    first = draw(streams, "a")
    streams.restore(streams.state())
    draw(streams, "b")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]
    with torch.random.fork_rng():
        torch.manual_seed(8)
        assert torch.equal(draw(Streams(0), "a"), first)


def test_the_source_names_no_global_generator() -> None:
    source = Path(sys.modules[Streams.__module__].__file__ or "").read_text()
    for name in ("torch.manual_seed", "set_rng_state", "get_rng_state", "default_generator", "fork_rng", "random.seed"):
        assert name not in source
