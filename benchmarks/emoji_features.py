"""Recompute the bundled emoji features from raw drawings, texts and speech, and print their cosines with the bundle.

    npm install @iconify-json/noto@1.2.9        the drawings, SVG
    apt-get install espeak-ng                   the voice, 1.52
    pip install cairosvg -e '.[small]'          rendering, and the encoders with their weights
    python benchmarks/emoji_features.py node_modules/@iconify-json/noto [--items 50]

The exit code is 1 if a cosine is not above 0.9999 (0.999 for sounds), or if the bundled feature that is nearest to a
recomputed one, among all 1,562 after subtracting the mean, does not belong to the same row. Rows with identical
features count as the same row.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import normalize

from omnidistill.data.emoji import load_emoji
from omnidistill.data.raw import RawFeatures
from omnidistill.encoding.encoders.encoder_registry import open_encoder
from omnidistill.encoding.extraction import EncodeSettings, encode, join
from omnidistill.encoding.manifests.manifest import Manifest, Row
from omnidistill.io.tracking import RichProgress

ENCODERS = {"image": "efficientnet-lite2", "text": "minilm-l6", "audio": "whisper-base"}
VOICE = ("-v", "en-us+m3", "-s", "175", "-p", "50")
LEAST = {"image": 0.9999, "text": 0.9999, "audio": 0.999}


def drawing(icons: dict[str, Any], names: dict[str, str], codepoints: str) -> str | None:
    """Return the SVG of an emoji; None if the package has no drawing for these code points."""
    keys = [codepoints, codepoints.replace("-fe0f", "")]
    keys += [re.sub(r"(^|-)0+", r"\1", key) for key in keys]
    name = next((names[key] for key in keys if key in names), None)
    if name is None:
        return None
    icon = icons["icons"][icons["aliases"].get(name, {}).get("parent", name)]
    width, height = (icon.get(side, icons[side]) for side in ("width", "height"))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
    )


def write_items(package: Path, emoji: RawFeatures, count: int, root: Path) -> tuple[Manifest, list[int]]:
    """Write drawings and speech for `count` emoji, spread over the set; return the manifest and the indices of rows."""
    import cairosvg

    icons, names = (json.loads((package / file).read_text("utf-8")) for file in ("icons.json", "chars.json"))
    drawn = [(row, svg) for row, key in enumerate(emoji.groups) if (svg := drawing(icons, names, key)) is not None]
    chosen = drawn[:: max(1, len(drawn) // count)][:count]
    rows = []
    for row, svg in chosen:
        image, sound = f"{row}.png", f"{row}.wav"
        cairosvg.svg2png(
            bytestring=svg.encode(),
            write_to=str(root / image),
            output_width=260,
            output_height=260,
        )
        subprocess.run(["espeak-ng", *VOICE, "-w", str(root / sound), emoji.captions["audio"][row]], check=True)
        media = {"image": image, "text": emoji.captions["text"][row], "audio": sound}
        rows.append(Row(emoji.ids[row], emoji.groups[row], emoji.splits[row], media))
    return Manifest(tuple(rows), {"image": "image", "text": "text", "audio": "audio"}, root), [row for row, _ in chosen]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="folder of the npm package @iconify-json/noto")
    parser.add_argument("--items", type=int, default=1562, help="number of emoji, spread over the set (default: all)")
    options = parser.parse_args()
    emoji = load_emoji(("noto",))
    with tempfile.TemporaryDirectory() as folder:
        manifest, rows = write_items(options.package, emoji, options.items, Path(folder))
        encoders = {modality: open_encoder(name) for modality, name in ENCODERS.items()}
        begun = time.monotonic()
        encode(manifest, encoders, Path(folder) / "out", settings=EncodeSettings(), progress=RichProgress())
        seconds = time.monotonic() - begun
        found = join(Path(folder) / "out")
    assert found.ids == tuple(emoji.ids[row] for row in rows), "a row is missing"
    failed = False
    for modality, x in found.features.items():
        made, bundled = normalize(x.double()), normalize(emoji.features[modality].double())
        cosines = (made * bundled[rows]).sum(1)
        centred = normalize(made - bundled.mean(0)) @ normalize(bundled - bundled.mean(0)).T
        same = centred.gather(1, torch.tensor(rows)[:, None])
        own = int((centred <= same + 1e-6).all(1).sum())
        failed |= float(cosines.min()) <= LEAST[modality] or own < len(rows)
        print(
            f"{modality:6} {len(rows)} rows, {own} nearest to the same row of the bundle; cosine: minimum "
            f"{cosines.min():.6f}, median {cosines.median():.6f}, mean {cosines.mean():.6f}"
        )
    print(f"{seconds:.1f} s, {3 * len(rows) / seconds:.1f} items/s, including loading weights and starting workers")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
