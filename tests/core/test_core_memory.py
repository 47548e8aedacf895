"""Peak memory of a block: what it allocates, what it freed again, blocks in blocks, and systems that do not tell."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from omnidistill.core import memory
from omnidistill.core.memory import peak_memory

MB = 10**6
TOLD = pytest.mark.skipif(not memory._CLEAR.exists(), reason="this system does not tell a peak of memory")


def touch(megabytes: int) -> torch.Tensor:
    """Memory that is written to, so that it is resident."""
    return torch.ones(megabytes * MB // 4)


def now() -> int:
    """The peak of nothing: what the process holds."""
    with peak_memory() as peak:
        held = peak()
    assert held is not None
    return held


@TOLD
@pytest.mark.parametrize("freed", [True, False])
def test_what_a_block_allocates_raises_its_peak_by_that(freed: bool) -> None:
    """Whether it is still held or not when the peak is asked for."""
    with peak_memory() as peak:
        before = peak()
        kept = touch(200)
        if freed:
            del kept
        after = peak()
    assert before is not None
    assert after is not None
    assert after - before == pytest.approx(200 * MB, rel=0.1)


@TOLD
def test_what_was_freed_before_a_block_is_none_of_its_peak() -> None:
    before = now()
    touch(200)
    assert now() - before < 100 * MB


@TOLD
def test_a_block_in_a_block_measures_itself_and_takes_nothing_from_the_outer() -> None:
    """The outer peak came before the inner block, in it, or after it."""
    for where in range(3):
        with peak_memory() as outer:
            before = outer()
            touch(200 if where == 0 else 1)
            with peak_memory() as inner:
                touch(200 if where == 1 else 1)
                within = inner()
            touch(200 if where == 2 else 1)
            whole = outer()
        assert before is not None
        assert within is not None
        assert whole is not None
        assert whole - before == pytest.approx(200 * MB, rel=0.1)
        assert (within - before > 100 * MB) == (where == 1)


@TOLD
def test_a_block_that_ended_by_an_error_is_forgotten() -> None:
    with pytest.raises(ValueError, match="on purpose"), peak_memory():
        raise ValueError("on purpose")
    assert not memory._open


@pytest.mark.parametrize("missing", ["_CLEAR", "_STATUS"])
def test_where_the_system_does_not_tell_there_is_no_peak(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, missing, tmp_path / "no such folder" / "file")
    with peak_memory() as peak:
        touch(1)
        assert peak() is None
