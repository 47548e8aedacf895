"""Messages use Python terms in Python and options on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnidistill.core.arguments import argument, written_as_options


@pytest.mark.parametrize(
    ("name", "value", "in_python", "as_option"),
    [
        ("seeds", 3, "seeds=3", "--seeds 3"),
        ("resume", True, "resume=True", "--resume"),
        ("heads", None, "heads", "--heads"),
        ("bytes", "1%", "bytes='1%'", "--bytes 1%"),
        ("initial_set", Path("RUN"), "initial_set='RUN'", "--from RUN"),
        ("num_students", 1, "num_students=1", "--students 1"),
        ("encoders", {"image": "NAME"}, "encoders={'image': 'NAME'}", "--encoder image=NAME"),
        ("encoders", {"a": "A", "b": "B"}, "encoders={'a': 'A', 'b': 'B'}", "--encoder a=A --encoder b=B"),
    ],
)
def test_an_argument_is_written_as_its_user_writes_it(name: str, value: object, in_python: str, as_option: str) -> None:
    assert argument(name, value) == in_python
    with written_as_options():
        assert argument(name, value) == as_option
    assert argument(name, value) == in_python


def test_an_error_restores_python_terms() -> None:
    with pytest.raises(ZeroDivisionError), written_as_options():
        raise ZeroDivisionError
    assert argument("seeds") == "seeds"
