"""Mean length of outputs, compared with numpy, also over several chunks of rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from omnidistill.evaluation.baselines import output_norms
from omnidistill.evaluation.baselines.output_norms import mean_output_norms


@pytest.mark.parametrize("rows_per_chunk", [2**14, 7])
def test_it_is_the_mean_over_rows(rows_per_chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_norms, "_ROWS", rows_per_chunk)
    generator = torch.Generator().manual_seed(0)
    heads = {name: torch.randn(3, width, generator=generator).double() for name, width in (("a", 4), ("b", 5))}
    rows = {name: torch.randn(20, matrix.shape[1], generator=generator).double() for name, matrix in heads.items()}
    bias = {name: torch.randn(3, generator=generator).double() for name in heads}
    for shift in (None, bias):
        found = mean_output_norms(heads, rows, shift)
        for name, matrix in heads.items():
            outputs = rows[name].numpy() @ matrix.numpy().T + (0 if shift is None else shift[name].numpy())
            assert found[name] == pytest.approx(np.linalg.norm(outputs, axis=1).mean(), rel=1e-12)


def test_outputs_that_are_all_zero_have_a_length_by_which_one_can_divide() -> None:
    assert mean_output_norms({"a": torch.zeros(2, 3)}, {"a": torch.ones(4, 3)}) == {"a": 1.0}
