"""A sample of `make torture`: readers of users' files meet damaged and costly files; see torture/hostile_trials.py."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import pytest

from torture.costly_files import COSTLY
from torture.forged_json import MISSING, VALUES, forgeries, places
from torture.fuzz_trials import FUZZED, fuzz
from torture.hostile_bytes import DAMAGES
from torture.hostile_trials import attempt
from torture.measured_command import Outcome
from torture.readers import READERS
from torture.sample_files import write_inputs

FROM_USERS = [reader for reader in READERS if set(reader.samples) <= {"pack", "media", "settings"}]
SLOW = ("npz of zeros", "parquet of ", "png of", "flac of", "jsonl with one wide row")
FAST = [name for name, (reader, _) in COSTLY.items() if not name.startswith(SLOW) and "apply" not in reader]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("samples"))


PAIRS = [(reader, name) for name, reader in zip(DAMAGES, cycle(FROM_USERS), strict=False)]


@pytest.mark.parametrize(("reader", "damage"), PAIRS, ids=lambda value: getattr(value, "name", value))
def test_each_damage_once(reader, damage, samples: Path) -> None:
    trial = attempt(samples, reader, damage, DAMAGES[damage])
    assert trial.passed, trial


@pytest.mark.parametrize("name", FAST)
def test_costly_files(name: str, samples: Path) -> None:
    reader, write = COSTLY[name]
    trial = attempt(samples, next(each for each in READERS if each.name == reader), name, write)
    assert trial.passed, trial


@pytest.mark.parametrize("name", ["table.jsonl", "TOML"])
def test_a_batch_of_mutated_files(name: str, samples: Path) -> None:
    reader = next(each for each in FUZZED if each.name == name)
    trial = fuzz(samples, reader, seconds=60, most_batches=1)
    assert trial.passed, trial


def test_there_are_two_hundred_kinds() -> None:
    assert len(READERS) * len(DAMAGES) + len(COSTLY) > 200
    assert len({reader.name for reader in READERS}) == len(READERS)


@pytest.mark.parametrize(
    ("outcome", "problem"),
    [
        (Outcome(0, "fine\n", "", 0, 0.1), ""),
        (Outcome(2, "", "omnidistill: no\n", 0, 0.1), ""),
        (Outcome(2, "", "Traceback (most recent call last):\nKeyError: 'x'\n", 0, 0.1), "traceback"),
        (Outcome(2, "", "", 0, 0.1), "without a message"),
        (Outcome(2, "", "omnidistill: no\nomnidistill: no\n", 0, 0.1), "more than one line"),
        (Outcome(-14, "", "", 0, 60.0), "ended with -14"),
        (Outcome(0, "\x1b[2J", "", 0, 0.1), "control character"),
        (Outcome(0, "", "", 10**9, 0.1), "takes 954 MiB"),
    ],
)
def test_what_counts_as_a_problem(outcome: Outcome, problem: str) -> None:
    assert problem in outcome.problem()
    assert bool(problem) == bool(outcome.problem())


def test_forgeries_reach_every_value(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, {"b": 2}], "c": {}}')
    assert len(list(places({"a": [1, {"b": 2}], "c": {}}))) == 5
    drawn = forgeries(path, 500, 0)
    assert {place for place, _ in drawn} == set(places({"a": [1, {"b": 2}], "c": {}}))
    assert all(any(value is each for each in (*VALUES, MISSING)) for _, value in drawn)
