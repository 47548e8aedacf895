"""Small outer loops run on one thread; the count is put back whatever happens."""

from __future__ import annotations

import pytest
import torch

from omnidistill.core.threads import threads_for


@pytest.mark.parametrize(("num_rows", "width", "single"), [(100, 256, True), (100, 1024, False)])
def test_by_size_alone(monkeypatch: pytest.MonkeyPatch, num_rows: int, width: int, single: bool) -> None:
    calls: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", calls.append)
    before = torch.get_num_threads()
    with pytest.raises(KeyError), threads_for(num_rows, {"image": 1280, "text": 768, "audio": 512}, width):
        raise KeyError
    assert calls == ([1] if single else []) + [before]
