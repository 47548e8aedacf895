"""Features that another program exported, as OmniBind's are: unit vectors of one width, a file a modality, and a
projection to start from where there is one. (OmniBind's have 1,536 numbers, whose decompositions take minutes.)
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from omnidistill.data.planted import planted
from omnidistill.data.store import load_features
from omnidistill.models.heads import load_heads
from small_runs import ROWS, SMALL, cli

MODALITIES, WIDTH = ("image", "audio", "text"), 192


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """One .npy a modality in half precision, and a table in the order of their rows."""
    raw = planted(dict.fromkeys(MODALITIES, WIDTH), ROWS, latent=6, positives_per_group=2)
    (tmp_path / "omnibind").mkdir()
    for name, x in raw.features.items():
        unit = torch.nn.functional.normalize(x, dim=1)
        np.save(tmp_path / "omnibind" / f"{name}.npy", unit.half().numpy())
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "group", "split"))
        writer.writerows(zip(raw.ids, raw.groups, raw.splits, strict=True))
    return tmp_path


def test_exported_features_and_a_projection_become_a_set_and_scores(exported: Path) -> None:
    tables = ("--features", exported / "omnibind", "--table", exported / "rows.csv")
    packed = cli("pack", *tables, "--no-standardise", "-o", exported / "SET")
    assert packed.code == 0, packed.err
    assert f"image {WIDTH} wide (float16)" in packed.out
    data = load_features(exported / "SET")
    assert data.widths == dict.fromkeys(MODALITIES, WIDTH)
    given = {name: torch.eye(WIDTH)[:64].clone() for name in MODALITIES}
    save_file(given, exported / "heads.safetensors")
    made = cli("distill", exported / "SET", *SMALL, "--heads", exported / "heads.safetensors", "-o", exported / "RUN")
    assert made.code == 0, made.err
    kept = load_heads(exported / "RUN" / "heads", data.widths)[0]
    assert all(torch.equal(kept[name], given[name]) for name in MODALITIES)
    scored = cli("evaluate", exported / "RUN", "--json")
    assert scored.code == 0, scored.err
    assert set(json.loads(scored.out)["distilled"]["recall"]) >= {"image->audio", "text->image", "mean"}
