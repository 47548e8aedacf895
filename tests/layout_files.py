"""Small data as other tools store it: embedding folders, Hugging Face datasets, and shards of media."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

WIDTHS = {"image": 5, "text": 4}
ROWS = 60


def vectors(rows: int = ROWS, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows x width of two modalities."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(rows, width)).astype(np.float32) for name, width in WIDTHS.items()}


def write_embeddings(folder: Path, parts: tuple[int, ...] = (25, 35), **columns: list[Any]) -> dict[str, np.ndarray]:
    """A folder as clip-retrieval writes it; return the rows that it contains."""
    arrays = vectors(sum(parts))
    for name in ("img_emb", "text_emb", "metadata"):
        (folder / name).mkdir(parents=True)
    begin = 0
    for number, count in enumerate(parts):
        rows = slice(begin, begin := begin + count)
        np.save(folder / f"img_emb/img_emb_{number}.npy", arrays["image"][rows])
        np.save(folder / f"text_emb/text_emb_{number}.npy", arrays["text"][rows])
        table = {"caption": [f"caption {row}" for row in range(rows.start, rows.stop)]}
        table |= {name: values[rows] for name, values in columns.items()}
        pq.write_table(pa.table(table), folder / f"metadata/metadata_{number}.parquet")
    return arrays


def picture(number: int, format: str = "PNG") -> bytes:
    """A small picture that differs for each number."""
    data = io.BytesIO()
    Image.new("RGB", (16, 16), (37 * number % 256, 91 * number % 256, 13 * number % 256)).save(data, format)
    return data.getvalue()


def npy(array: Any, **options: bool) -> bytes:
    """The content of a .npy file."""
    data = io.BytesIO()
    np.save(data, array, **options)
    return data.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    """A .tar file with these members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def write_img2dataset(path: Path, rows: range) -> Path:
    """A shard as img2dataset writes it, with the Parquet file next to it, in which one download failed."""
    keys = [f"{row:09d}" for row in rows]
    members: dict[str, bytes] = {}
    for row, key in zip(rows, keys, strict=True):
        fields = {"key": key, "caption": f"caption {row}", "url": f"https://example.org/{row}", "status": "success"}
        members |= {f"{key}.jpg": picture(row, "JPEG"), f"{key}.json": json.dumps(fields).encode()}
        members |= {f"{key}.txt": fields["caption"].encode()}
    write_tar(path, members)
    status = ["success"] * len(keys) + ["failed_to_download"]
    pq.write_table(pa.table({"key": [*keys, "999999999"], "status": status}), path.with_suffix(".parquet"))
    return path
