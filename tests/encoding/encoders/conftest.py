"""Models are loaded from folders only; tiny towers that several files use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def towers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Converted tiny models, with a vocabulary of made-up merges."""
    import torch

    from omnidistill.encoding.encoders.imagebind import load_imagebind as imagebind
    from omnidistill.encoding.encoders.languagebind import load_languagebind as languagebind
    from published_problems import TINY_IMAGEBIND, languagebind_folder, languagebind_state, weights, write_vocabulary

    folder = tmp_path_factory.mktemp("towers")
    torch.save(weights("imagebind"), folder / "imagebind.pth")
    imagebind.convert(folder / "imagebind.pth", folder / "imagebind", sizes=TINY_IMAGEBIND)
    languagebind.convert(languagebind_folder(folder / "model", languagebind_state()), folder / "languagebind", "video")
    for model in ("imagebind", "languagebind"):
        write_vocabulary(folder / model)
    return {model: folder / model for model in ("imagebind", "languagebind")}
