"""The engine of a Ray: every unit a task, placed where its threads and GPUs are free, done anew when its worker dies.

A task computes with as many threads as this process would, since the bits of a matrix product depend on them, and
counts as many CPUs. It works in the folder that this process is in, so relative paths mean the same: all machines must
see the same files. What a task raises is not tried again; only a worker that dies is replaced.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import torch

from omnidistill.core.engines.engine import Done, Result, Unit
from omnidistill.core.errors import InputError, OmnidistillError
from omnidistill.core.memory import cores
from omnidistill.core.optional import require

_IN_FLIGHT = 256  # units that Ray knows of at once: enough for a cluster to grow by
_SECONDS_TO_END = 30.0  # for units to save where they are


class WorkerDiedError(OmnidistillError):
    """The processes that worked on a unit died, one after the other."""


class RayEngine:
    """Units as tasks of a Ray: one that this process uses already, the one at `address`, or (None) one of this machine
    that ends with the engine.

    address: HOST:PORT, ray://HOST:PORT, or "auto" for the one that runs on this machine. gpus: of every unit. retries:
    workers that may die over a unit before it is given up.
    """

    here = False

    def __init__(self, address: str | None = None, *, gpus: int = 0, retries: int = 3) -> None:
        self.address, self.gpus, self.retries = address, gpus, retries
        self._ours = False

    def at_once(self, helpers: int = 0) -> int:
        """As many as there are CPUs and GPUs for; of this machine no more than this process may use."""
        ray = _ray()
        there = ray.cluster_resources()
        cpus = there.get("CPU", 1.0)
        if self._ours and self.address is None:
            cpus = min(cpus, cores())
        units = cpus / self._cpus(ray, helpers)
        return max(1, int(min(units, there.get("GPU", 0.0) / self.gpus) if self.gpus else units))

    def run(
        self,
        task: Callable[[Unit], Result],
        units: Sequence[Unit],
        *,
        after: Mapping[int, Sequence[int]] | None = None,
        helpers: int = 0,
    ) -> Generator[Done[Result], None, None]:
        """Units as they are done; one that waits for another raises what that one raised.

        Results raise WorkerDiedError for a unit over which `retries` + 1 workers died.
        """
        ray = _ray()
        options = {"num_cpus": self._cpus(ray, helpers), "num_gpus": self.gpus, "max_retries": self.retries}
        work = ray.remote(_work).options(name="omnidistill", **options)
        here, kept = _Here(uuid4().hex, os.getcwd(), torch.get_num_threads()), [ray.put(task)]
        awaited = {number for numbers in (after or {}).values() for number in numbers}
        coming, pending, first = iter(enumerate(units)), dict[Any, int](), dict[int, Any]()
        try:
            while True:
                for number, unit in islice(coming, _IN_FLIGHT - len(pending)):
                    reference = work.remote(here, kept, unit, *(first[each] for each in (after or {}).get(number, ())))
                    pending[reference] = number
                    if number in awaited:
                        first[number] = reference
                if not pending:
                    return
                (reference,), _ = ray.wait(list(pending), num_returns=1)
                yield Done(pending.pop(reference), partial(self._result, reference))
        finally:
            _end(ray, list(pending))

    def __enter__(self) -> RayEngine:
        ray = _ray()
        if self._ours or ray.is_initialized():
            return self
        where = {"address": self.address} if self.address else {"address": "local", "include_dashboard": False}
        try:
            _require_open(self.address)
            ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(
                f"--engine {self._name()}: no Ray to be had ({_line(error)}); see that 'ray status' answers there, "
                "or use --engine ray for one of this machine"
            ) from error
        self._ours = True
        return self

    def __exit__(self, *error: object) -> None:
        if self._ours:
            _ray().shutdown()
            self._ours = False

    def _name(self) -> str:
        """As typed."""
        address = self.address or ""
        return address if address.startswith("ray://") else f"ray:{address}".rstrip(":")

    def _cpus(self, ray: Any, helpers: int) -> int:
        """What a unit is counted as: all that it has work for, or the largest machine."""
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if self.gpus and self._ours and self.address is None and not any("GPU" in each for each in machines):
            raise InputError(
                "--engine ray: this machine has no GPU; give --device cpu, or the address of a Ray with one"
            )
        wanted = torch.get_num_threads() + helpers
        return min(wanted, int(max((each.get("CPU", 0) for each in machines), default=0)) or wanted)

    def _result(self, reference: Any) -> Any:
        ray = _ray()
        try:
            return ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, Exception):
                raise error.cause from None
            raise OmnidistillError(_line(error)) from None
        except ray.exceptions.RayError as error:
            raise WorkerDiedError(
                f"its worker died, and so did those that tried again ({type(error).__name__}); "
                "most often for want of memory: give tasks more of it, or fewer of them a machine"
            ) from error


@dataclass(frozen=True)
class _Here:
    """What a worker must have in common with this process. token: names the task, for the worker to keep it."""

    token: str
    folder: str
    num_threads: int


_kept: dict[str, Callable[[Any], Any]] = {}  # of a worker: the task it was last given


def _work(here: _Here, kept: Sequence[Any], unit: Any, *_: Any) -> Any:
    """Do a unit, in a worker."""
    try:
        os.chdir(here.folder)
    except OSError as error:
        raise InputError(
            f"{here.folder}: is not there on a machine of the Ray; its machines must see the same files as this one"
        ) from error
    if torch.get_num_threads() != here.num_threads:
        torch.set_num_threads(here.num_threads)
    if here.token not in _kept:
        _kept.clear()
        _kept[here.token] = _ray().get(kept[0])
    return _kept[here.token](unit)


def _end(ray: Any, pending: Sequence[Any]) -> None:
    """Interrupt what is under way as Ctrl-C would, so that it saves; then by force."""
    if not pending:
        return
    for force in (False, True):
        for reference in pending:
            with suppress(ray.exceptions.RayError):
                ray.cancel(reference, force=force)
        _, pending = ray.wait(list(pending), num_returns=len(pending), timeout=_SECONDS_TO_END)
        if not pending:
            return


def _require_open(address: str | None) -> None:
    """Raise OSError at once where nobody listens: Ray would wait for minutes."""
    place = urlsplit(address if address and "//" in address else f"//{address or ''}")
    if place.port is not None:
        socket.create_connection((place.hostname or "localhost", place.port), timeout=10).close()


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anyone
    return require("ray", "ray")


def _line(error: BaseException) -> str:
    """The first line of what it says."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
