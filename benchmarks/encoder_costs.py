"""Measure what each encoder with packaged weights costs: `python benchmarks/encoder_costs.py FOLDER/media/items.csv`.

The items are those that `emoji_features.py` made (drawings of 260 x 260 pixels, texts of up to 12 keywords, speech of
one to three seconds); clips have 48 frames of 320 x 240 pixels, of which an encoder reads 8. Seconds per 1,000 items
are CPU time, so that other load matters little; run it with OMP_NUM_THREADS=1. They include decoding, but not loading
the weights. Writes results/encoder_costs.json and .md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch

from extraction import table_of, write_clips
from measuring import RESULTS, Cell, Table, machine
from omnidistill.encoding.encoders.encoder import Encoder
from omnidistill.encoding.encoders.encoder_registry import open_encoder
from omnidistill.encoding.extraction.encode_settings import item_of
from omnidistill.encoding.manifests.manifest import Manifest, read_manifest

ENCODERS = (
    "efficientnet-lite0",
    "efficientnet-lite1",
    "efficientnet-lite2",
    "minilm-l6",
    "e5-small",
    "whisper-base",
    "whisper-tiny-en",
    "frames-efficientnet-lite0",
    "frames-efficientnet-lite1",
    "frames-efficientnet-lite2",
)
BATCH = 4
COUNTS = {"image": 48, "text": 96, "audio": 48, "video": 8}


def weights_size(encoder: Encoder) -> float:
    """Return the size of the files with the weights, in MB."""
    source = getattr(encoder, "image_encoder", encoder)
    if (file := getattr(source, "file", None)) is not None:
        files = [file]
    else:
        files = [path for path in source.folder.iterdir() if path.suffix in (".bin", ".safetensors")]
    return sum(path.stat().st_size for path in files) / 1e6


def seconds_per_item(encoder: Encoder, manifest: Manifest) -> float:
    """Return the median over batches of the CPU seconds for decoding and encoding one item, after one warm-up batch."""
    count = COUNTS[encoder.kind]
    rows = manifest.rows[:: max(1, len(manifest) // count)][:count]
    items = [item_of(manifest, row, encoder.kind) for row in rows]
    times = []
    for first in range(0, len(items), BATCH):
        started_at = time.process_time()
        prepared = [encoder.prepare(item) for item in items[first : first + BATCH]]
        if len({x.shape for x in prepared}) == 1:
            encoder.encode(torch.stack(prepared))
        else:  # `encode` stacks items of one shape; sounds and texts differ in length
            for x in prepared:
                encoder.encode(x[None])
        times.append((time.process_time() - started_at) / len(prepared))
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure sizes and speeds of the encoders with packaged weights.")
    parser.add_argument("manifest", type=Path, help="media/items.csv in the output folder of emoji_features.py")
    options = parser.parse_args()
    computer, rows = machine(), list[tuple[Cell, ...]]()
    with tempfile.TemporaryDirectory() as folder:
        write_clips(Path(folder))
        sources = {True: table_of(Path(folder), COUNTS["video"]), False: read_manifest(options.manifest)}
        for name in ENCODERS:
            encoder = open_encoder(name)
            seconds = 1000 * seconds_per_item(encoder, sources[encoder.kind == "video"])
            rows.append((name, encoder.kind, encoder.width, round(weights_size(encoder), 1), round(seconds, 1)))
            print(*rows[-1], flush=True)
    note = "CPU seconds per 1,000 items, with decoding: median over batches of 4 items, after one warm-up batch."
    table = Table("Costs", note, ("encoder", "reads", "width", "weights, MB", "s per 1,000 items"), tuple(rows))
    RESULTS.mkdir(exist_ok=True)
    record = {"machine": computer, "tables": [asdict(table)]}
    (RESULTS / "encoder_costs.json").write_text(json.dumps(record, indent=1) + "\n")
    (RESULTS / "encoder_costs.md").write_text("\n".join(["# Encoders", "", computer, "", table.markdown()]))


if __name__ == "__main__":
    main()
