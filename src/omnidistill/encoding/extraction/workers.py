"""Prepare items in worker processes while the model runs.

Items are returned in order. Only a limited number of prepared items wait for the model. If a decoder raises an
exception or crashes its process, only the item that it was decoding is lost. After a crash, all queued items are
prepared one at a time, to find the items that caused the crash. A worker ends when its parent process ends, even if the
parent is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
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
from omnidistill.core.interrupts import blocked_in_children
from omnidistill.core.memory import out_of_memory
from omnidistill.encoding.encoders.encoder import Encoder, Item


@dataclass(frozen=True)
class Bad:
    """The reason why an item cannot be encoded, on one line."""

    why: str


@dataclass(frozen=True)
class Job:
    """An item to prepare.

    Attributes:
        row: index of the item's row in its shard.
        modality: modality of the item.
        item: the item, or the reason (`Bad`) why it cannot be used.
    """

    row: int
    modality: str
    item: Item | Bad


Prepared = Tensor | Bad

_NOTHING = Job(0, "", Bad("nothing to prepare"))

_encoders: Mapping[str, Encoder] = {}  # set in worker processes


class Preparation:
    """Context manager for a pool of worker processes, which start on first use.

    Args:
        encoders: {modality: encoder}.
        num_workers: number of processes; 0 prepares items in this process.
        ahead: maximum number of items that are prepared ahead of the model.
    """

    def __init__(self, encoders: Mapping[str, Encoder], num_workers: int, ahead: int) -> None:
        self._encoders, self._num_workers, self._ahead = dict(encoders), num_workers, ahead
        self._pool: ProcessPoolExecutor | None = None

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Prepared]]:
        """Prepare the items of all jobs, and yield (job, prepared item) in the order of the jobs."""
        if self._num_workers == 0:
            for job in jobs:
                yield job, _tensor(_prepare(self._encoders, job.modality, job.item))
            return
        remaining, waiting = iter(jobs), deque[tuple[Job, "Future[np.ndarray | Bad]"]]()
        while True:
            for next_job in islice(remaining, self._ahead - len(waiting)):
                waiting.append((next_job, self._submit(next_job, self._num_workers)))
            if not waiting:
                return
            job, future = waiting.popleft()
            if isinstance(future.exception(), BrokenProcessPool):
                queued = [job, *(each for each, _ in waiting)]
                waiting = deque(zip(queued, map(_finished, self._one_at_a_time(queued)), strict=True))
                job, future = waiting.popleft()
            yield job, _tensor(future.result())

    def __enter__(self) -> Preparation:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def _submit(self, job: Job, num_workers: int) -> Future[np.ndarray | Bad]:
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
            self._pool = ProcessPoolExecutor(num_workers, spawn, initializer=_initialise, initargs=(self._encoders,))
        try:
            with blocked_in_children():  # submit() starts the processes
                return self._pool.submit(_prepare_in_worker, job.modality, job.item)
        except BrokenProcessPool as error:
            broken: Future[np.ndarray | Bad] = Future()
            broken.set_exception(error)
            return broken

    def _one_at_a_time(self, jobs: Sequence[Job]) -> Iterator[np.ndarray | Bad]:
        """Prepare the items one at a time, to find the items that crash their worker process.

        Raises:
            InputError: worker processes end as soon as they start, before they receive a job.
        """
        self._stop()
        if isinstance(self._submit(_NOTHING, num_workers=1).exception(), BrokenProcessPool):
            raise InputError(
                "encode: the worker processes exit as soon as they start; in a script, call `encode` under "
                "`if __name__ == '__main__':`, or set num_workers=0"
            )
        for job in jobs:
            future = self._submit(job, num_workers=1)
            if isinstance(future.exception(), BrokenProcessPool):
                self._stop()
                yield Bad("decoding it crashed the worker process")
            else:
                yield future.result()
        self._stop()

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def _initialise(encoders: Mapping[str, Encoder]) -> None:
    global _encoders
    _encoders = encoders
    torch.set_num_threads(1)
    for name in ("SIGINT", "SIGHUP"):  # as in `blocked_in_children`; the parent then stops the workers
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent has ended. Otherwise it would wait for items forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _prepare_in_worker(modality: str, item: Item | Bad) -> np.ndarray | Bad:
    return _prepare(_encoders, modality, item)


def _prepare(encoders: Mapping[str, Encoder], modality: str, item: Item | Bad) -> np.ndarray | Bad:
    """Prepare an item. The result is a NumPy array, because a tensor sent between processes would keep a file open."""
    if isinstance(item, Bad):
        return item
    try:
        return encoders[modality].prepare(item).numpy()
    except Exception as error:  # decoders raise many types of exceptions for damaged data
        if out_of_memory(error):  # the item may be good
            raise MemoryError(str(error)) from error
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        return Bad(" ".join(f"{kind}{error}".split()))


def _tensor(prepared: np.ndarray | Bad) -> Prepared:
    return prepared if isinstance(prepared, Bad) else torch.from_numpy(prepared)


def _finished(prepared: np.ndarray | Bad) -> Future[np.ndarray | Bad]:
    future: Future[np.ndarray | Bad] = Future()
    future.set_result(prepared)
    return future
