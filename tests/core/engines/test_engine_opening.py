from __future__ import annotations

from pathlib import Path

import pytest

from omnidistill.core.engines import LocalEngine, RayEngine, engine_from
from omnidistill.core.errors import InputError
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
        ("rey", "cpu", r"--engine rey: unknown; known are local, ray and ray:ADDRESS; did you mean 'ray'\?"),
        ("locale", "cpu", r"did you mean 'local'\?"),
        ("ray:", "cpu", r"--engine ray:: unknown"),
        ("local:1", "cpu", r"--engine local:1: unknown"),
        ("ray", "cuda:1", r"--device cuda:1: a Ray gives every task a GPU of its own; give --device cuda"),
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
