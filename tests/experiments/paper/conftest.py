"""All tables of the paper on planted stand-ins, computed once."""

from __future__ import annotations

import pytest

from paper_problems import SHAPES, Printed, paper_of, stand_in


@pytest.fixture(scope="session")
def every_table(tmp_path_factory: pytest.TempPathFactory) -> Printed:
    data, folder = {name: stand_in(name) for name in SHAPES}, tmp_path_factory.mktemp("paper") / "PAPER"
    return Printed(data, folder, paper_of(**data, folder=folder, command="omnidistill paper ..."))
