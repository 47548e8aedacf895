"""The Ray engine: each unit of work becomes a task of a Ray cluster, which runs it where CPUs and GPUs are free.

A task uses the same number of threads as this process, because the rounding of a matrix product depends on this number.
A task reserves one CPU per thread. It runs in the working directory of this process, so that relative paths keep their
meaning; all machines must therefore share a file system. A task is repeated if its worker dies, but not if the task
raises an exception.
"""

from __future__ import annotations

import logging
import os
import signal
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

from omnidistill.core.arguments import argument
from omnidistill.core.engines.engine import Done, Result, Unit
from omnidistill.core.engines.engine_registry import engines
from omnidistill.core.errors import InputError, OmnidistillError
from omnidistill.core.interrupts import Interrupted, handlers_unchanged
from omnidistill.core.memory import cores
from omnidistill.core.optional import require

_IN_FLIGHT = 256  # number of units submitted to Ray at the same time; enough for an autoscaling cluster to grow
_SECONDS_TO_END = 30.0  # time that interrupted units have to save their state


class WorkerDiedError(OmnidistillError):
    """A unit of work was given to several worker processes, and each of them died."""


@engines.register("ray")
def ray_engine(address: str | None = None, device: str = "cpu") -> RayEngine:
    """Return an engine that processes units of work as tasks on a Ray cluster.

    `ray` starts a cluster on this machine. `ray:ADDRESS` and `ray://HOST:PORT` use an existing cluster.

    Raises:
        InputError: the device is one particular GPU, such as "cuda:1". Ray assigns the GPUs.
    """
    if device.startswith("cuda:"):
        raise InputError(
            f"{argument('device', device)}: Ray chooses the GPU of every task, so you cannot select one; "
            f"use {argument('device', 'cuda')}"
        )
    if address is not None and address.startswith("//"):
        address = f"ray:{address}"
    return RayEngine(address, gpus=int(device == "cuda"))


class RayEngine:
    """Processes units of work as tasks on a Ray cluster.

    If this process is already connected to a Ray cluster, the engine uses that cluster.

    Args:
        address: HOST:PORT, ray://HOST:PORT, or "auto" for a cluster that already runs on this machine. None starts a
            new cluster on this machine and stops it when the engine closes.
        gpus: number of GPUs per unit.
        retries: how many times a unit is retried if its worker dies.
    """

    here = False

    def __init__(self, address: str | None = None, *, gpus: int = 0, retries: int = 3) -> None:
        self.address: str | None = address
        self.gpus: int = gpus
        self.retries: int = retries
        self._owns_connection = False

    def at_once(self, helpers: int = 0) -> int:
        """Return how many units of work can run on the cluster's CPUs and GPUs at the same time.

        If the engine started the cluster on this machine, only the CPUs that this process may use are counted.
        """
        ray = _ray()
        resources = ray.cluster_resources()
        cpus = resources.get("CPU", 1.0)
        if self._owns_connection and self.address is None:
            cpus = min(cpus, cores())
        units = cpus / self._cpus(ray, helpers)
        return max(1, int(min(units, resources.get("GPU", 0.0) / self.gpus) if self.gpus else units))

    def run(
        self,
        task: Callable[[Unit], Result],
        units: Sequence[Unit],
        *,
        after: Mapping[int, Sequence[int]] | None = None,
        helpers: int = 0,
    ) -> Generator[Done[Result], None, None]:
        """Yield a `Done` object whenever a unit of work is finished; see `Engine.run`.

        `Done.result` raises WorkerDiedError if `retries` + 1 workers died while processing the unit. If a unit fails,
        the units that wait for it raise the same exception.
        """
        ray = _ray()
        options = {"num_cpus": self._cpus(ray, helpers), "num_gpus": self.gpus, "max_retries": self.retries}
        work = ray.remote(_work).options(name="omnidistill", **options)
        context, stored_task = _Context(uuid4().hex, os.getcwd(), torch.get_num_threads()), [ray.put(task)]
        awaited = {number for numbers in (after or {}).values() for number in numbers}
        remaining, pending, references = iter(enumerate(units)), dict[Any, int](), dict[int, Any]()
        try:
            while True:
                for number, unit in islice(remaining, _IN_FLIGHT - len(pending)):
                    earlier = (references[each] for each in (after or {}).get(number, ()))
                    reference = work.remote(context, stored_task, unit, *earlier)
                    pending[reference] = number
                    if number in awaited:
                        references[number] = reference
                if not pending:
                    return
                (reference,), _ = ray.wait(list(pending), num_returns=1)
                yield Done(pending.pop(reference), partial(self._result, reference))
        finally:
            _end(ray, list(pending))

    def __enter__(self) -> RayEngine:
        ray = _ray()
        if self._owns_connection or ray.is_initialized():
            return self
        where = {"address": self.address} if self.address else {"address": "local", "include_dashboard": False}
        try:
            _check_listening(self.address)
            with handlers_unchanged():  # Ray installs its own handler of SIGTERM
                ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
        except SystemExit as error:  # from Ray's own handler of SIGTERM
            raise Interrupted(signal.SIGTERM) from error
        except Exception as error:  # Ray raises many types, for example Exception if a node does not start in time
            raise InputError(
                f"{argument('engine', self._name())}: could not connect to a Ray cluster ({_line(error)}); check "
                f"that the cluster is running ('ray status'), or use {argument('engine', 'ray')} to start a cluster "
                "on this machine"
            ) from error
        self._owns_connection = True
        return self

    def __exit__(self, *error: object) -> None:
        if self._owns_connection:
            _ray().shutdown()
            self._owns_connection = False

    def _name(self) -> str:
        """Return the value of the `engine` argument that selects this engine, such as "ray:HOST:PORT"."""
        address = self.address or ""
        return address if address.startswith("ray://") else f"ray:{address}".rstrip(":")

    def _cpus(self, ray: Any, helpers: int) -> int:
        """Return the number of CPUs to reserve per unit of work.

        A unit needs one CPU per torch thread and one per helper process. The result is at most the number of CPUs of
        the largest machine, unless no machine has a CPU.

        Raises:
            InputError: the units need GPUs, but the engine started the cluster on this machine, which has no GPU.
        """
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if self.gpus and self._owns_connection and self.address is None and not any("GPU" in each for each in machines):
            raise InputError(
                f"{argument('engine', 'ray')}: this machine has no GPU; use {argument('device', 'cpu')}, or the "
                "address of a cluster with a GPU"
            )
        cpus = torch.get_num_threads() + helpers
        return min(cpus, int(max((each.get("CPU", 0) for each in machines), default=0)) or cpus)

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
                f"the worker of this unit died, and so did every worker that repeated it ({type(error).__name__}); the "
                "usual cause is lack of memory: give tasks more memory, or run fewer tasks per machine"
            ) from error


@dataclass(frozen=True)
class _Context:
    """What a worker process needs to know before it processes a unit of work.

    Attributes:
        token: identifies the task (the function that processes a unit), so that a worker loads it only once.
        folder: working directory of the main process; the worker changes to it.
        num_threads: number of torch threads of the main process; the worker uses the same number.
    """

    token: str
    folder: str
    num_threads: int


_task_cache: dict[str, Callable[[Any], Any]] = {}  # used in workers: {token: the last task}


def _work(context: _Context, stored_task: Sequence[Any], unit: Any, *_: Any) -> Any:
    """Process a unit of work in a worker process."""
    try:
        os.chdir(context.folder)
    except OSError as error:
        raise InputError(
            f"{context.folder}: a machine in the Ray cluster does not have this folder; all machines in the "
            "cluster need a shared file system that contains it"
        ) from error
    if torch.get_num_threads() != context.num_threads:
        torch.set_num_threads(context.num_threads)
    if context.token not in _task_cache:
        _task_cache.clear()
        _task_cache[context.token] = _ray().get(stored_task[0])
    return _task_cache[context.token](unit)


def _end(ray: Any, pending: Sequence[Any]) -> None:
    """Interrupt running tasks as Ctrl-C would, so that they save their state. Then kill those still running."""
    if not pending:
        return
    for force in (False, True):
        for reference in pending:
            with suppress(ray.exceptions.RayError):
                ray.cancel(reference, force=force)
        _, pending = ray.wait(list(pending), num_returns=len(pending), timeout=_SECONDS_TO_END)
        if not pending:
            return


def _check_listening(address: str | None) -> None:
    """Raise OSError if nothing listens at the address. Without this check, Ray would wait for minutes."""
    parts = urlsplit(address if address and "//" in address else f"//{address or ''}")
    if parts.port is not None:
        socket.create_connection((parts.hostname or "localhost", parts.port), timeout=10).close()


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
    return require("ray", "ray")


def _line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
