"""A small crossed table, computed once and stored in a folder."""

from __future__ import annotations

import pytest

from crossed_problems import Made, crossed_of
from small_runs import features


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    data, folder = features(3), tmp_path_factory.mktemp("crossed") / "C"
    return Made(data, folder, crossed_of(data, folder=folder, command="omnidistill compare ..."))
