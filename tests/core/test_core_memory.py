"""Peak memory of a block: known if the block raised the peak of the process, and unknown otherwise."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from omnidistill.core import memory
from omnidistill.core.errors import InputError
from omnidistill.core.memory import out_of_memory, peak_memory

MB = 10**6
REPORTED = pytest.mark.skipif(memory._high_water() is None, reason="this system does not report a peak of memory")
CODE = """
from omnidistill.core.memory import peak_memory, _high_water

def touch(megabytes):  # written to, so that it is resident
    return bytearray(b"x") * (megabytes * 10**6)

before = _high_water()
"""


def in_new_process(code: str) -> None:
    """Run the code in a process whose peak is small, because the peak of a process never falls."""
    subprocess.run([sys.executable, "-c", CODE + code], check=True)


@REPORTED
def test_what_a_block_allocates_raises_its_peak_by_that_even_if_it_is_freed() -> None:
    in_new_process("""
with peak_memory() as peak:
    touch(200)
    assert 180 * 10**6 < peak() - before < 230 * 10**6
""")


@REPORTED
def test_a_block_that_needs_less_than_the_process_before_has_no_known_peak() -> None:
    in_new_process("""
touch(200)
with peak_memory() as peak:
    touch(20)
    assert peak() is None
    touch(300)
    assert 280 * 10**6 < peak() - before < 330 * 10**6
""")


@REPORTED
def test_an_outer_block_has_the_peak_of_an_inner_one() -> None:
    in_new_process("""
with peak_memory() as outer:
    with peak_memory() as inner:
        touch(200)
        within = inner()
    with peak_memory() as later:
        touch(1)
        assert later() is None
    assert outer() >= within > before + 180 * 10**6
""")


@REPORTED
def test_the_peak_of_the_process_is_not_reset() -> None:
    before = memory._high_water()
    with peak_memory():
        pass
    after = memory._high_water()
    assert before is not None
    assert after is not None
    assert after >= before


def test_where_the_system_does_not_report_it_there_is_no_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "no such folder" / "file")
    with peak_memory() as peak:
        torch.ones(MB // 4)
        assert peak() is None


def chained(cause: Exception) -> InputError:
    try:
        raise InputError("features.npz: cannot be read; the file is truncated or damaged") from cause
    except InputError as error:
        return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), True),
        (SafetensorError("Error while deserializing: Cannot allocate memory (os error 12)"), True),
        (chained(MemoryError("Unable to allocate 7 GiB")), True),
        (OSError(errno.ENOENT, "No such file or directory"), False),
        (ImportError("No module named 'torch'"), False),
        (RuntimeError("shapes differ"), False),
        (InputError("/data/out of memory/x.npz: no such file"), False),
    ],
    ids=str,
)
def test_lack_of_memory_is_recognised(error: Exception, expected: bool) -> None:
    assert out_of_memory(error) == expected
