"""A real Ray of two workers, of which some are killed: the same bits as in this process, errors as they were raised."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from comparison_problems import without_costs
from omnidistill.core.engines.ray_cluster import RayEngine
from omnidistill.core.errors import InputError
from small_runs import contents, without_seconds

TESTS = Path(__file__).parents[2]
SECONDS_TO_START = 600.0
pytestmark = pytest.mark.timeout(3600)  # the start, and a few minutes of work on a quiet machine


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """What the program left. Its sockets lie in a folder of a short name, as they must. Where Ray itself does not start
    in ten minutes, that is the machine's doing: its tests are skipped.
    """
    made = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    own = {"PYTHONPATH": path, "HOME": str(made), "RAY_TMPDIR": str(made), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).parent / "ray_program.py"), str(made)]
    output = made / "output.txt"
    with (
        output.open("w") as file,
        subprocess.Popen(
            command, env={**os.environ, **own}, stdout=file, stderr=file, start_new_session=True
        ) as program,
    ):
        try:
            deadline = time.monotonic() + SECONDS_TO_START
            while program.poll() is None and not (made / "started").exists():
                if time.monotonic() > deadline:
                    pytest.skip(
                        f"Ray did not start in {SECONDS_TO_START / 60:.0f} minutes: {output.read_text()[-500:]}"
                    )
                time.sleep(0.1)
            code = program.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
    assert code == 0, output.read_text()
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return read


def test_shards_are_the_same_bits_though_a_worker_was_killed(folder: Path, found: dict[str, Any]) -> None:
    assert contents(folder / "encoded" / "ray") == contents(folder / "encoded" / "local")
    told = found["encoded"]
    assert len(set(told["processes"])) >= 2
    assert told["killed"] in told["processes"]
    last = max(index for index, process in enumerate(told["processes"]) if process == told["killed"])
    assert last < len(told["processes"]) - 1  # others went on


def test_a_comparison_is_the_same_though_a_worker_was_killed(folder: Path, found: dict[str, Any]) -> None:
    assert len(found["compared"]["killed"]) == 1
    local, there = (without_costs(found["compared"][name]) for name in ("local", "ray"))
    assert local == there
    local, there = (contents(folder / "compared" / name) for name in ("local", "ray"))
    made = [name for name in local if name.endswith(".safetensors") and not name.startswith("cells/hopa-c")]
    assert len(made) > 20
    assert {name: there.get(name) for name in made} == {name: local[name] for name in made}


def test_experts_that_cells_share_are_trained_once(folder: Path) -> None:
    local, there = (
        {path.name for path in (folder / "compared" / name / "experts").iterdir()} for name in ("local", "ray")
    )
    assert local == there
    assert len(local) == 2


def test_what_fails_is_told_per_cell_as_here(found: dict[str, Any]) -> None:
    local, there = found["compared"]["failures"]
    assert local == there
    assert len(local) == 2
    assert all("became NaN or Inf" in why for why in local.values())


def test_experts_in_blocks_are_the_same_buffer(folder: Path, found: dict[str, Any]) -> None:
    assert found["experts"] == {"codes": [0, 0], "blocks": 2}
    local, there = (without_seconds(contents(folder / "experts" / name)) for name in ("local", "ray"))
    assert local == there


def test_what_a_task_raises_is_passed_on_and_not_tried_again(found: dict[str, Any]) -> None:
    alone = found["alone"]
    assert alone["found"]["a"] == "A"
    assert alone["found"]["bad"] == "InputError: row 3: is bad; drop it"
    assert alone["found"]["odd"] == "KeyError: 'odd'"
    assert alone["done"].count("bad") == alone["done"].count("odd") == 1


def test_a_unit_waits_for_those_that_it_comes_after(found: dict[str, Any]) -> None:
    alone = found["alone"]
    assert alone["found"]["after bad"] == alone["found"]["bad"]
    assert "after bad" not in alone["done"]
    assert alone["found"]["after a"] == "AFTER A"
    assert alone["done"].index("a") < alone["done"].index("after a")


def test_a_unit_that_kills_every_worker_is_given_up(found: dict[str, Any]) -> None:
    assert found["alone"]["found"]["deadly"].startswith("WorkerDiedError: the worker of this unit died, and so did ")
    assert found["alone"]["done"].count("deadly") == 2


def test_what_is_under_way_is_interrupted_at_the_end_and_a_ray_of_others_lives_on(
    folder: Path, found: dict[str, Any]
) -> None:
    assert (folder / "alone" / "interrupted").exists()
    assert found["alone"]["ours"]


def test_an_address_where_nobody_listens(found: dict[str, Any]) -> None:
    assert found["unreachable"].startswith(
        "engine='ray:127.0.0.1:1': could not connect to a Ray cluster ([Errno 111] Connection refused)"
    )


def test_a_missing_package_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'omnidistill\[ray\]'"), RayEngine():
        pass
