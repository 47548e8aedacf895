"""Items made ready in worker processes while the model runs: in order, a bounded number ahead, none of them fatal.

A decoder that raises costs its item. One that takes its process down costs its item too: whatever was under way is
then prepared alone, one at a time, to find which it was.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.encoder import Encoder, Item


@dataclass(frozen=True)
class Bad:
    """Why an item cannot be encoded, as one line."""

    why: str


@dataclass(frozen=True)
class Job:
    """An item to prepare: number of its row in the shard, modality; `Bad` where there is no item to be had."""

    row: int
    modality: str
    item: Item | Bad


Prepared = Tensor | Bad

_NOTHING = Job(0, "", Bad("nothing to prepare"))

_encoders: Mapping[str, Encoder] = {}  # of a worker process


class Preparation:
    """The workers, started when needed; use it in a `with`.

    encoders: {modality: encoder}. num_workers: processes, 0 for none. ahead: items that may wait for the model.
    """

    def __init__(self, encoders: Mapping[str, Encoder], num_workers: int, ahead: int) -> None:
        self._encoders, self._num_workers, self._ahead = dict(encoders), num_workers, ahead
        self._pool: ProcessPoolExecutor | None = None

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Prepared]]:
        """Every job with what `prepare` gave, in the order of the jobs."""
        if self._num_workers == 0:
            for job in jobs:
                yield job, _tensor(_prepare(self._encoders, job.modality, job.item))
            return
        coming, waiting = iter(jobs), deque[tuple[Job, "Future[np.ndarray | Bad]"]]()
        while True:
            for coming_job in islice(coming, self._ahead - len(waiting)):
                waiting.append((coming_job, self._submit(coming_job, self._num_workers)))
            if not waiting:
                return
            job, future = waiting.popleft()
            if isinstance(future.exception(), BrokenProcessPool):
                under_way = [job, *(each for each, _ in waiting)]
                waiting = deque(zip(under_way, map(_settled, self._alone(under_way)), strict=True))
                job, future = waiting.popleft()
            yield job, _tensor(future.result())

    def __enter__(self) -> Preparation:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def _submit(self, job: Job, num_workers: int) -> Future[np.ndarray | Bad]:
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
            self._pool = ProcessPoolExecutor(num_workers, spawn, initializer=_begin, initargs=(self._encoders,))
        try:
            return self._pool.submit(_prepare_here, job.modality, job.item)
        except BrokenProcessPool as error:
            broken: Future[np.ndarray | Bad] = Future()
            broken.set_exception(error)
            return broken

    def _alone(self, jobs: Sequence[Job]) -> Iterator[np.ndarray | Bad]:
        """Each job while no other is under way: the one that ends the process is to blame.

        Raises InputError where a process ends before it has a job.
        """
        self._stop()
        if isinstance(self._submit(_NOTHING, num_workers=1).exception(), BrokenProcessPool):
            raise InputError(
                "encode: processes that prepare items end as soon as they start; in a script call encode under "
                "`if __name__ == '__main__':`, or take num_workers=0"
            )
        for job in jobs:
            future = self._submit(job, num_workers=1)
            if isinstance(future.exception(), BrokenProcessPool):
                self._stop()
                yield Bad("took the process that decoded it down")
            else:
                yield future.result()
        self._stop()

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def _begin(encoders: Mapping[str, Encoder]) -> None:
    global _encoders
    _encoders = encoders
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and ends the workers


def _prepare_here(modality: str, item: Item | Bad) -> np.ndarray | Bad:
    return _prepare(_encoders, modality, item)


def _prepare(encoders: Mapping[str, Encoder], modality: str, item: Item | Bad) -> np.ndarray | Bad:
    """As numpy array: a tensor would come back as an open file of shared memory each."""
    if isinstance(item, Bad):
        return item
    try:
        return encoders[modality].prepare(item).numpy()
    except Exception as error:  # decoders of damaged bytes raise many types
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        return Bad(" ".join(f"{kind}{error}".split()))


def _tensor(prepared: np.ndarray | Bad) -> Prepared:
    return prepared if isinstance(prepared, Bad) else torch.from_numpy(prepared)


def _settled(prepared: np.ndarray | Bad) -> Future[np.ndarray | Bad]:
    future: Future[np.ndarray | Bad] = Future()
    future.set_result(prepared)
    return future
