"""Encode the drawings, texts and speech of the emoji data, by the encoders of the bundled features and by others.

    python benchmarks/emoji_features.py node_modules/@iconify-json FOLDER [--items 50] [--encoders NAME ...]

`emoji_media.py` lists the packages of the media; `pip install -e '.[alternatives]'` installs the encoders. FOLDER gets
the media with their manifest (media/items.csv), the features of every encoder, and for every row of `SETS` a set with
the ids, groups and splits of the bundled data (sets/NAME). The command continues after an interruption: media and
features that exist are not made again.

For encoders of the bundled features, the script compares its results with the bundle. The exit code is 1 if a cosine is
not above 0.9999 (0.999 for sounds), or if the bundled feature of the same style that is nearest to a recomputed one,
after subtracting the mean, does not belong to the same row. Rows with identical features count as the same row.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from emoji_media import STYLES, emoji_manifest
from omnidistill.data.emoji import load_emoji
from omnidistill.data.featureset import prepare
from omnidistill.data.raw import RawFeatures
from omnidistill.data.store import save_features
from omnidistill.encoding.encoders.encoder_registry import open_encoder
from omnidistill.encoding.extraction import EncodeSettings, encode, join
from omnidistill.encoding.manifests.manifest import Manifest
from omnidistill.io.tracking import RichProgress

BUNDLED = {"efficientnet-lite2": "image", "minilm-l6": "text", "whisper-base": "audio"}
OTHERS = {"efficientnet-lite0": "image", "efficientnet-lite1": "image", "e5-small": "text", "whisper-tiny-en": "audio"}
SETS = {
    "lite0-minilm-base": ("efficientnet-lite0", "minilm-l6", "whisper-base"),
    "lite0-e5-base": ("efficientnet-lite0", "e5-small", "whisper-base"),
    "lite0-e5-tiny": ("efficientnet-lite0", "e5-small", "whisper-tiny-en"),
    "lite1-e5-tiny": ("efficientnet-lite1", "e5-small", "whisper-tiny-en"),
}
"""Sets by name: the encoders of image, text and audio. Encoders of the bundled features need not be run again."""

LEAST = {"image": 0.9999, "text": 0.9999, "audio": 0.999}


def encoded(manifest: Manifest, name: str, out: Path) -> RawFeatures:
    """Return the features of one encoder for all rows, computed unless `out` contains them."""
    modality, started_at = (BUNDLED | OTHERS)[name], time.monotonic()
    kinds = {modality: manifest.kinds[modality]}
    rows = tuple(replace(row, media={modality: row.media[modality]}) for row in manifest.rows)
    encode(
        Manifest(rows, kinds, manifest.root),
        {modality: open_encoder(name)},
        out,
        settings=EncodeSettings(),
        progress=RichProgress(),
    )
    print(f"{name}: {len(rows):,} items, {time.monotonic() - started_at:.1f} s", flush=True)
    result = join(out)
    assert result.ids == tuple(row.id for row in rows), f"{name}: a row is missing"
    return result


def agrees(made: Tensor, ids: tuple[str, ...], modality: str) -> bool:
    """Print the cosines of recomputed features with the bundled ones, and return whether all are above the limit."""
    passed = True
    for style in dict.fromkeys(name.partition("/")[0] for name in ids):
        emoji = load_emoji((style,))
        index = {name: row for row, name in enumerate(emoji.ids)}
        here = [place for place, name in enumerate(ids) if name in index]
        rows = [index[ids[place]] for place in here]
        x, bundled = normalize(made[here].double()), normalize(emoji.features[modality].double())
        cosines = (x * bundled[rows]).sum(1)
        centred = normalize(x - bundled.mean(0)) @ normalize(bundled - bundled.mean(0)).T
        same = centred.gather(1, torch.tensor(rows)[:, None])
        own = int((centred <= same + 1e-6).all(1).sum())
        passed &= float(cosines.min()) > LEAST[modality] and own == len(rows)
        print(
            f"{modality:6} {style}: {len(rows)} rows, {own} nearest to the same row of the bundle; cosine: minimum "
            f"{cosines.min():.6f}, median {cosines.median():.6f}, mean {cosines.mean():.6f}"
        )
    return passed


def write_sets(manifest: Manifest, features: Mapping[str, Tensor], folder: Path) -> None:
    """Write the sets whose encoders have features. Those of the bundled encoders are taken from the bundle."""
    emoji = load_emoji(tuple(dict.fromkeys(row.id.partition("/")[0] for row in manifest.rows)))
    index = {name: row for row, name in enumerate(emoji.ids)}
    rows = [index[row.id] for row in manifest.rows]
    bundle = {name: emoji.features[modality][rows] for name, modality in BUNDLED.items()}
    everything = bundle | dict(features)
    for name, parts in SETS.items():
        if all(encoder in everything for encoder in parts):
            raw = RawFeatures(
                {(BUNDLED | OTHERS)[encoder]: everything[encoder] for encoder in parts},
                tuple(row.id for row in manifest.rows),
                tuple(row.group for row in manifest.rows),
                tuple(row.split for row in manifest.rows),
                {"name": f"emoji {name}", "encoders": list(parts)},
                {modality: tuple(texts[row] for row in rows) for modality, texts in emoji.captions.items()},
            )
            save_features(prepare(raw), folder / name)
            print(f"{folder / name}: {', '.join(parts)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, help="the folder node_modules/@iconify-json")
    parser.add_argument("folder", type=Path, help="output folder")
    parser.add_argument("--items", type=int, default=1562, help="number of emoji per style (default: all)")
    parser.add_argument("--styles", nargs="+", choices=STYLES, default=list(STYLES), help="styles (default: all)")
    parser.add_argument(
        "--encoders",
        nargs="+",
        choices=(*BUNDLED, *OTHERS),
        default=list(OTHERS),
        help="encoders to run (default: those that the bundled features are not from)",
    )
    options = parser.parse_args()
    manifest = emoji_manifest(options.packages, options.folder / "media", options.styles, options.items)
    features, passed = {}, True
    for name in options.encoders:
        result = encoded(manifest, name, options.folder / name)
        ((modality, features[name]),) = result.features.items()
        if name in BUNDLED:
            passed &= agrees(features[name], result.ids, modality)
    write_sets(manifest, features, options.folder / "sets")
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
