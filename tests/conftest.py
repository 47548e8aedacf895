"""What every test stands on: seeded draws, independence of how fast and how wide the machine is, and a guard against
tests (and code) that leak global state.

Nothing here may import omnidistill at its top: this file is read before the hook that type-checks it is in place.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: bits depend on the number of threads

import jaxtyping
import pytest
import torch
from hypothesis import HealthCheck, settings
from torch import Tensor

import type_checks
from browser import Browser, find_browser

jaxtyping.jaxtyped = type_checks.checked  # the import hook decorates with it

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as of a shell that runs the tests in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as under nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Seconds until the process of W&B must have started and answered: on a busy machine that takes longer than it allows.
os.environ |= {"WANDB_X_SERVICE_WAIT": "600", "WANDB_INIT_TIMEOUT": "600"}

# No example fails because a machine is slow.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


LONG = ("e2e", "faults", "docs", "cli", "core/engines", "methods", "golden", "experiments", "encoding", "evaluation")
"""Folders in which single tests take seconds, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files begin first, so that no process works on one at the end while the others have nothing left to do."""
    tests = Path(__file__).parent

    def turn(item: pytest.Item) -> int:
        folder = item.path.relative_to(tests).parent.as_posix() + "/"
        return next((turn for turn, name in enumerate(LONG) if folder.startswith(f"{name}/")), len(LONG))

    items.sort(key=turn)


@pytest.fixture(autouse=True)
def _types_are_checked_again() -> None:
    """The first calls of every function are checked in every test."""
    type_checks.start_test()


@pytest.fixture(autouse=True, scope="session")
def _random_rows_are_trained_briefly() -> Iterator[None]:
    """An evaluation of a small run spends nine tenths of its time on how long random rows are trained best: 2048 steps
    are the longest that validation may choose, and 64 show as much.
    """
    from omnidistill.evaluation.baselines import random_real_rows
    from omnidistill.evaluation.validation import doubling_steps

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random_real_rows, "doubling_steps", lambda longest: doubling_steps(min(longest, 64)))
        yield


@pytest.fixture(scope="session")
def normal() -> Callable[..., Tensor]:
    """`normal(*shape, seed=0)`: standard normal float64 draws of their own generator."""

    def draw(*shape: int, seed: int = 0) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

    return draw


@pytest.fixture(scope="session")
def chunk_bytes() -> Callable[[int], AbstractContextManager[None]]:
    """`with chunk_bytes(n):` computes in chunks of n bytes, where the size of a chunk is `memory.CHUNK_BYTES`."""
    from omnidistill.core import memory

    @contextmanager
    def change(num_bytes: int) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(memory, "CHUNK_BYTES", num_bytes)
            yield

    return change


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread, whatever the machine: for equal bits of sums that more threads would divide in another way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless browser, where one is installed."""
    executable = find_browser()
    if executable is None:
        pytest.skip("no browser is installed; install chromium to run this")
    with Browser(executable, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, built strictly."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(Path(__file__).parents[1] / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return folder


@pytest.fixture(autouse=True)
def _global_state_is_left_alone() -> Iterator[None]:
    """Fail a test that drew from torch's global generator or changed its default dtype or thread count."""
    random_state, dtype, num_threads = torch.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads()
    yield
    changed = []
    if not torch.equal(torch.get_rng_state(), random_state):
        changed.append("torch's global random state was used or seeded: draw from a torch.Generator")
    if torch.get_default_dtype() != dtype:
        changed.append(f"torch's default dtype became {torch.get_default_dtype()}")
    if torch.get_num_threads() != num_threads:
        changed.append(f"torch's thread count became {torch.get_num_threads()}")
    torch.set_rng_state(random_state)
    torch.set_default_dtype(dtype)
    torch.set_num_threads(num_threads)
    if changed:
        pytest.fail("; ".join(changed), pytrace=False)
