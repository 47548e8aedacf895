"""Time the same work in this process and on a Ray cluster with two workers: `python benchmarks/engines.py`.
Writes results/engines.json and .md.

Both engines are measured alternately in one run. A warm-up round starts Ray and lets its workers import everything. The
work is an encoding (generated texts through an encoder that only computes matrix products) and a comparison (two
methods on planted features). Before any number is printed, the results of both engines are compared bit by bit.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from measuring import RESULTS, Cell, Table, interleaved, machine, ratio, spread
from omnidistill.core.engines import Engine, LocalEngine
from omnidistill.core.engines.ray_cluster import RayEngine
from omnidistill.core.optional import require
from omnidistill.data.featureset import prepare
from omnidistill.data.planted import planted
from omnidistill.data.store import save_features
from omnidistill.encoding.encoders.encoder import Item
from omnidistill.encoding.extraction import EncodeSettings, encode
from omnidistill.encoding.manifests.manifest import Manifest, Row
from omnidistill.experiments.comparison import compare

WORKERS = 2


@dataclass(frozen=True)
class Products:
    """An encoder that multiplies the letters of a text by matrices; it takes as long as a small network."""

    name = "products"
    kind = "text"
    width = 256
    views = 1

    def prepare(self, item: Item) -> Tensor:
        return torch.tensor([float(ord(letter)) for letter in item.text.ljust(256)[:256]])

    def encode(self, batch: Tensor) -> Tensor:
        matrix = torch.randn(256, 256, generator=torch.Generator().manual_seed(0)) / 16
        x = batch / 256
        for _ in range(400):
            x = torch.tanh(x @ matrix)
        return x.unsqueeze(1)

    def head(self) -> Tensor | None:
        return None

    def fingerprint(self) -> dict[str, str]:
        return {"name": self.name}


def encoding(folder: Path, quick: bool) -> Callable[[Engine, Path], None]:
    num_rows = 512 if quick else 4096
    rows = tuple(
        Row(f"{n}", f"{n}", "train", {"text": f"text {n}", "words": f"words {7 * n}"}) for n in range(num_rows)
    )
    manifest = Manifest(rows, {"text": "text", "words": "text"}, folder)
    settings = EncodeSettings(batch_size=16, shard_rows=num_rows // 8, num_workers=0)

    def run(engine: Engine, out: Path) -> None:
        encode(manifest, {"text": Products(), "words": Products()}, out, settings=settings, engine=engine)

    return run


def comparison(folder: Path, quick: bool) -> Callable[[Engine, Path], None]:
    data = planted({"a": 96, "b": 64, "c": 48}, {"heads": 128, "train": 512, "validation": 128, "test": 128}, latent=12)
    save_features(prepare(data), folder / "SET")
    settings = ["heads.width=64", "experts.num_epochs=10", f"distill.iterations={40 if quick else 400}"]

    def run(engine: Engine, out: Path) -> None:
        compared = compare(
            folder / "SET",
            methods=["hopa", "apm"],
            sizes=[20],
            seeds=[0, 1],
            num_students=2,
            settings=settings,
            folder=out,
            engine=engine,
            device="cpu",
            progress=False,
        )
        assert not compared.failures, compared.failures

    return run


def same(local: Path, there: Path) -> bool:
    """Return whether all tensor files in both folders are identical."""
    names = [path.relative_to(local) for path in local.rglob("*.safetensors")]
    return bool(names) and all((local / name).read_bytes() == (there / name).read_bytes() for name in names)


def _once(run: Callable[[Engine, Path], None], engine: Engine, outs: Iterator[Path]) -> None:
    run(engine, next(outs))


def measure(quick: bool) -> Table:
    table: list[tuple[Cell, ...]] = []
    engines: dict[str, Engine] = {"local": LocalEngine(), "ray": RayEngine()}
    with tempfile.TemporaryDirectory() as place, engines["ray"]:
        for work in (encoding, comparison):
            folder = Path(place) / work.__name__
            folder.mkdir()
            run, outs = work(folder, quick), (folder / f"out-{number}" for number in count())
            cases = {name: partial(_once, run, engine, outs) for name, engine in engines.items()}
            times = interleaved(cases, 1 if quick else 3)
            assert same(folder / "out-0", folder / "out-1"), work.__name__
            table.append((work.__name__, *(spread(times[name]) for name in cases), ratio(times, "ray", "local")))
    note = (
        f"Seconds for the same work, with bit-identical results; Ray has {WORKERS} workers with one thread each, and "
        "everything runs on one machine."
    )
    return Table("Ray against local", note, ("work", "local, s", "ray, s", "ray / local"), tuple(table))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less work and one round; only prints")
    options = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    torch.set_num_threads(1)
    require("ray", "ray").init(address="local", num_cpus=WORKERS, include_dashboard=False, logging_level="ERROR")
    computer, table = machine(), measure(options.quick)
    text = "\n".join(["# Engines", "", computer, "", table.markdown()])
    if not options.quick:
        RESULTS.mkdir(exist_ok=True)
        record = {"machine": computer, "tables": [asdict(table)]}
        (RESULTS / "engines.json").write_text(json.dumps(record, indent=1) + "\n")
        (RESULTS / "engines.md").write_text(text)
    print(text)
