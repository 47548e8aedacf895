"""The bounded window of items under way; real processes are in test_extraction_encoding."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
import torch

from encoding_problems import Letters
from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.encoder import Item
from omnidistill.encoding.extraction.workers import Bad, Job, Preparation


def jobs(count: int, pulled: list[int]) -> Iterator[Job]:
    for number in range(count):
        pulled.append(number)
        yield Job(number, "text", Item("abc"[: 1 + number % 3]))


class Inline(Preparation):
    """Its "processes" prepare at once; row 4 ends them, and all that is submitted until they are started anew."""

    broken = False

    def _submit(self, job: Job, num_workers: int) -> Future[np.ndarray | Bad]:
        future: Future[np.ndarray | Bad] = Future()
        self.broken = self.broken or job.row == 4
        if self.broken:
            future.set_exception(BrokenProcessPool())
        else:
            future.set_result(np.array([job.row]))
        return future

    def _stop(self) -> None:
        self.broken = False


def test_no_more_than_so_many_items_are_ahead() -> None:
    pulled: list[int] = []
    with Inline({"text": Letters()}, 2, 3) as preparation:
        for done, (job, _) in enumerate(preparation.run(jobs(20, pulled))):
            assert job.row == done
            assert len(pulled) <= done + 3
    assert len(pulled) == 20


def test_what_ended_a_process_is_found_and_the_rest_comes_in_order() -> None:
    with Inline({"text": Letters()}, 2, 5) as preparation:
        found = list(preparation.run(jobs(12, [])))
    assert [job.row for job, _ in found] == list(range(12))
    assert [job.row for job, prepared in found if isinstance(prepared, Bad)] == [4]
    assert all(torch.equal(prepared, torch.tensor([job.row])) for job, prepared in found if job.row != 4)


def test_processes_that_do_not_start_are_told_and_no_item_is_blamed() -> None:
    class Dead(Inline):
        def _stop(self) -> None:
            self.broken = True

    preparation = Dead({"text": Letters()}, 2, 5)
    with pytest.raises(InputError, match=r"exit as soon as they start; .*`if __name__ == '__main__':`.*num_workers=0"):
        list(preparation.run(jobs(12, [])))


def test_without_workers_items_are_prepared_when_asked_for() -> None:
    pulled: list[int] = []
    run = Preparation({"text": Letters()}, 0, 3).run(jobs(5, pulled))
    assert torch.equal(next(run)[1], torch.tensor([0]))
    assert torch.equal(next(run)[1], torch.tensor([0, 1]))
    assert pulled == [0, 1]


@pytest.mark.parametrize("item", [Item(" "), Bad("no such row")])
def test_what_cannot_be_prepared_says_why(item: Item | Bad) -> None:
    [(_, found)] = Preparation({"text": Letters()}, 0, 1).run([Job(0, "text", item)])
    assert found in (Bad("the text is empty; add text or remove the item"), Bad("no such row"))


WAITING = """
from omnidistill.encoding.encoders.encoder import Item
from omnidistill.encoding.extraction.workers import Job, Preparation
from encoding_problems import Letters

if __name__ == "__main__":
    with Preparation({"text": Letters()}, 1, 1) as preparation:
        for job, prepared in preparation.run([Job(0, "text", Item("abc"))]):
            print("ready", flush=True)
            input()
"""


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """The workers inherit stdout, so that it is at its end only when they have ended."""
    (tmp_path / "waiting.py").write_text(WAITING)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    command = [sys.executable, str(tmp_path / "waiting.py")]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
        process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL


def test_an_item_for_which_memory_ran_out_is_not_called_bad() -> None:
    class Large(Letters):
        def prepare(self, item: Item) -> torch.Tensor:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(MemoryError):
        list(Preparation({"text": Large()}, 0, 1).run([Job(0, "text", Item("abc"))]))
