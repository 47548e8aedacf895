"""Files are mapped in chunks: the memory of a process does not grow with the number of vectors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from migration_problems import planted, small
from omnidistill.core.memory import peak_memory

DRIVER = """
import sys
from pathlib import Path
from omnidistill.experiments.migration.kit import Kit
kit, folder = Kit.load(sys.argv[1]), Path(sys.argv[2])
def peak():
    return next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
kit.apply_file(folder / "few.npy", folder / "few-out.npy")
before = peak()
kit.apply_file(folder / "many.npy", folder / "many-out.npy")
print(peak() - before)
"""


def test_a_million_vectors_need_no_more_memory_than_a_few(tmp_path: Path) -> None:
    """128 MB in and 112 MB out, memory-mapped by numpy while they are written."""
    with peak_memory() as peak:
        if not Path("/proc/self/status").exists():
            pytest.skip(f"this system does not report peak memory ({peak()})")
    few = np.tile(planted()[0], (400, 1))  # 200,000 vectors: more than one chunk
    np.save(tmp_path / "few.npy", few)
    many = np.lib.format.open_memmap(tmp_path / "many.npy", mode="w+", dtype=np.float32, shape=(1_000_000, 32))
    for start in range(0, 1_000_000, 200_000):
        many[start : start + 200_000] = few
    many.flush()
    small().kit.save(tmp_path / "KIT")
    command = [sys.executable, "-c", DRIVER, str(tmp_path / "KIT"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 40, "MB"
    mapped = np.load(tmp_path / "many-out.npy", mmap_mode="r")
    assert mapped.shape == (1_000_000, 28)
    expected = small().kit.apply(planted()[0])
    np.testing.assert_allclose(mapped[:500], expected, atol=1e-5)
    np.testing.assert_allclose(mapped[-500:], expected, atol=1e-5)
