"""Ten times the data do not take ten times the memory: pack, heads, experts, distil, a training on all rows, recall."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

JOB = Path(__file__).parents[1] / "scale_job.py"
MB = 2**20


def measured(folder: Path, num_train: int) -> dict[str, int]:
    """In a process of its own: memory that another test let go would hide what this one takes."""
    told = subprocess.run(
        [sys.executable, str(JOB), str(folder), str(num_train)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    return dict(json.loads(told.stdout))


@pytest.mark.timeout(900)  # half a minute of one core, which other work may have
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell what no file backs")
def test_memory_does_not_grow_with_the_training_rows(tmp_path: Path) -> None:
    small, large = measured(tmp_path / "small", 2_600), measured(tmp_path / "large", 26_000)
    assert large["data"] > 8 * small["data"] > 100 * MB
    assert large["peak"] < 1.5 * small["peak"]
    assert large["peak"] - small["peak"] < (large["data"] - small["data"]) / 3  # less than one of the two modalities
