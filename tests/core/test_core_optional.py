from __future__ import annotations

import pytest

from omnidistill.core.errors import InputError
from omnidistill.core.optional import require


def test_a_module_that_is_there_is_given() -> None:
    import os.path

    assert require("os.path", "media") is os.path


def test_one_that_is_not_says_what_to_install() -> None:
    with pytest.raises(InputError, match=r"pip install 'omnidistill\[media\]'") as caught:
        require("no_such_module.part", "media")
    assert "no_such_module" in str(caught.value)
    assert "\n" not in str(caught.value)
