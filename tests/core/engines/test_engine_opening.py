from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from omnidistill.core.engines import LocalEngine, engine_from, engines, ray_cluster
from omnidistill.core.engines.ray_cluster import RayEngine
from omnidistill.core.errors import InputError
from omnidistill.core.interrupts import Interrupted
from plugins import installed
from small_runs import cli


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ray", None),
        ("ray:auto", "auto"),
        ("ray:10.0.0.1:6379", "10.0.0.1:6379"),
        ("ray:ray://head:10001", "ray://head:10001"),
        ("ray://head:10001", "ray://head:10001"),
    ],
)
def test_a_ray_by_its_address(text: str, address: str | None) -> None:
    engine = engine_from(text)
    assert isinstance(engine, RayEngine)
    assert (engine.address, engine.gpus) == (address, 0)


def test_local_and_gpus() -> None:
    assert isinstance(engine_from("local", "cuda:1"), LocalEngine)
    engine = engine_from("ray", "cuda")
    assert isinstance(engine, RayEngine)
    assert engine.gpus == 1


@pytest.mark.parametrize(
    ("text", "device", "message"),
    [
        ("rey", "cpu", r"engine='rey': engine 'rey' is not installed; installed: local, ray; did you mean 'ray'\?"),
        ("locale", "cpu", r"did you mean 'local'\?"),
        ("ray:", "cpu", r"engine='ray:': the address after the colon is missing; use engine='ray' or ray:ADDRESS"),
        ("local:1", "cpu", r"the 'local' engine takes no address; use engine='local'"),
        (
            "ray",
            "cuda:1",
            r"device='cuda:1': Ray chooses the GPU of every task, so you cannot select one; use device='cuda'",
        ),
    ],
)
def test_what_is_no_engine(text: str, device: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        engine_from(text, device)


@pytest.mark.parametrize("verb", ["experts", "compare"])
def test_verbs_tell_it_in_one_line(verb: str, tmp_path: Path) -> None:
    methods = ("--methods", "apm") if verb == "compare" else ()
    told = cli(verb, "emoji", *methods, "-o", tmp_path / "out", "--engine", "rey")
    assert (told.code, told.out, len(told.err.splitlines())) == (2, "", 1)
    assert "did you mean 'ray'?" in told.err
    assert not (tmp_path / "out").exists()


class Threads(LocalEngine):
    """An engine of another package."""

    def __init__(self, address: str | None, device: str) -> None:
        self.address, self.device = address, device


def no_engine(address: str | None, device: str) -> object:
    return 3


def test_an_engine_registered_from_python() -> None:
    with installed(engines):
        engines.register("threads")(Threads)
        assert engines.names() == ("local", "ray", "threads")
        engine = engine_from("threads:8:x", "cuda:1")
        assert isinstance(engine, Threads)
        assert (engine.address, engine.device) == ("8:x", "cuda:1")
    assert engines.names() == ("local", "ray")


def test_engines_of_entry_points() -> None:
    points = {"threads": "Threads", "absent": "Absent", "three": "no_engine", "local": "Threads"}
    with installed(engines, {name: f"{__name__}:{value}" for name, value in points.items()}):
        engine = engine_from("threads")
        assert type(engine).__name__ == "Threads"
        assert engine.address is None
        assert type(engine_from("local")) is LocalEngine  # built-in names cannot be replaced
        with pytest.raises(InputError, match=r"engine='absent': engine 'absent' from package .* cannot be loaded"):
            engine_from("absent")
        with pytest.raises(
            InputError,
            match=r"engine='three': the registered function returned a int, but must return an engine: .*'at_once'",
        ):
            engine_from("three")
        with pytest.raises(InputError, match=r"did you mean 'threads'\?"):
            engine_from("thread")


def test_the_registry_imports_no_ray() -> None:
    code = "import sys; from omnidistill.core.engines import engines; print(engines.names(), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "('local', 'ray') False\n"


def start_with(monkeypatch: pytest.MonkeyPatch, init: Callable[..., object]) -> None:
    ray = SimpleNamespace(is_initialized=lambda: False, init=init, shutdown=lambda: None)
    monkeypatch.setattr(ray_cluster, "_ray", lambda: ray)
    with RayEngine():
        pass


def test_a_ray_that_does_not_start_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def time_out(**_: object) -> None:
        raise Exception("The current node timed out during startup.\nThis could happen because")

    with pytest.raises(InputError, match=r"could not connect to a Ray cluster \(The current node timed out"):
        start_with(monkeypatch, time_out)


def test_ray_does_not_change_what_sigterm_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's own handler exits with the number of the signal."""

    def replace_handler(**_: object) -> None:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))

    def receive_sigterm(**_: object) -> None:
        replace_handler()
        signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    start_with(monkeypatch, replace_handler)
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(Interrupted) as interrupted:
        start_with(monkeypatch, receive_sigterm)
    assert interrupted.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before
