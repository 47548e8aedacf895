"""Calls of the public functions with arguments that cannot be used; prints {case: error type and message} as JSON.

It runs in a process of its own, because the tests check the types of all arguments before the library does.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import omnidistill as od


def main(folder: Path) -> None:
    draw = np.random.default_rng(0)
    arrays: Any = {name: draw.normal(size=(40, width)) for name, width in (("a", 6), ("b", 7))}
    splits = ["train"] * 24 + ["validation"] * 8 + ["test"] * 8
    data: Any = od.FeatureSet.from_arrays(arrays, splits=splits)
    few: Any = {"preset": "smoke", "settings": {"heads.width": 4, "distill.size": 4, "distill.similarity.rank": 2}}
    silent: Any = {"progress": False, "device": "cpu"}
    result = od.distill(data, **few, **silent)
    cases: dict[str, Callable[[], object]] = {
        "list of features": lambda: od.FeatureSet.from_arrays(list(arrays.values())),
        "arrays of other lengths": lambda: od.FeatureSet.from_arrays({"a": arrays["a"], "b": arrays["b"][:9]}),
        "groups of another length": lambda: od.FeatureSet.from_arrays(arrays, groups=[1, 2]),
        "data as a list": lambda: od.distill([1, 2], **few, **silent),
        "data as a text path": lambda: od.distill("SET", **few, **silent),
        "config as a dict": lambda: od.distill(data, config={"distill": {"size": 4}}, **silent),
        "settings as a number": lambda: od.distill(data, settings=3, **silent),
        "settings as a list of numbers": lambda: od.distill(data, settings=[3], **silent),
        "settings as a list of pairs": lambda: od.distill(data, settings=[("distill.size", 4)], **silent),
        "settings without a value": lambda: od.distill(data, settings=["distill.size"], **silent),
        "unknown setting in a dict": lambda: od.distill(data, settings={"distill.sise": 4}, **silent),
        "unknown setting in a text": lambda: od.distill(data, settings=["distill.sise=4"], **silent),
        "a setting that is a set": lambda: od.distill(data, settings={"distill.size": {1}}, **silent),
        "size and bytes": lambda: od.distill(data, size=4, bytes="1%", **silent),
        "size twice": lambda: od.distill(data, size=4, settings={"distill.size": 5}, **silent),
        "preset and config": lambda: od.distill(data, preset="hopa", config=od.load_config(), **silent),
        "unknown preset": lambda: od.distill(data, preset="hoppa", **silent),
        "more rows than there are": lambda: od.distill(data, size=1000, **silent),
        "heads as a list": lambda: od.distill(data, heads=[1], **few, **silent),
        "heads of another modality": lambda: od.distill(data, heads={"c": arrays["a"]}, **few, **silent),
        "heads of another width": lambda: od.distill(data, heads={"a": arrays["a"], "b": arrays["a"]}, **few, **silent),
        "modalities that are none": lambda: od.distill(data, settings={"modalities": ["a", "z"]}, **silent),
        "a device that is no name": lambda: od.distill(data, **few, device="gpu", progress=False),
        "a device that is missing": lambda: od.distill(data, **few, device="cuda:99", progress=False),
        "a device for an evaluation": lambda: od.evaluate(result, data, device="tpu", progress=False),
        "resume without a folder": lambda: od.distill(data, **few, **silent, resume=True),
        "evaluate a list": lambda: od.evaluate([result], data, **silent),
        "evaluate without data": lambda: od.evaluate(result, **silent),
        "evaluate other data": lambda: od.evaluate(result, data.only(["b", "a"]).select(range(30)), **silent),
        "compare a dict of settings": lambda: od.compare(data, ["apm"], settings={"distill.nothing": 1}, **silent),
        "compare settings as a number": lambda: od.compare(data, ["apm"], settings=5, **silent),
        "compare nothing": lambda: od.compare(data, **silent),
        "compare config as a dict": lambda: od.compare(data, config={"methods": ["apm"]}, **silent),
        "compare methods as a number": lambda: od.compare(data, 3, **silent),
        "compare sizes as a text": lambda: od.compare(data, ["apm"], sizes="many", **silent),
        "recall of a list": lambda: od.recall([arrays["a"]], range(40)),
        "recall of other lengths": lambda: od.recall({"a": arrays["a"], "b": arrays["a"][:3]}, range(40)),
        "recall at zero": lambda: od.recall({"a": arrays["a"], "b": arrays["a"]}, range(40), at=[0]),
        "fit a list": lambda: od.Distiller(preset="smoke").fit([arrays["a"], arrays["b"]]),
        "transform before fit": lambda: od.Distiller().transform(arrays),
        "settings of an estimator": lambda: od.Distiller(size=4, settings=7).fit(data),
        "encode with a text": lambda: od.encode(folder / "items.csv", "clip-image", folder / "SET", **silent),
        "encode on a missing device": lambda: od.encode(
            folder / "items.csv", ["minilm-l6"], folder / "SET", device="cuda:99"
        ),
        "a first set that is none": lambda: od.distill(data, **few, **silent, initial_set=[result]),
        "a page of a result in memory": lambda: od.write_report([result], folder / "page.html"),
        "a baseline that is none": lambda: od.evaluate(result, data, baselines=["ccca"], **silent),
        "pack a dict of arrays": lambda: od.pack(arrays),
        "pack a text path": lambda: od.pack("nothing"),
        "a manifest of a list": lambda: od.create_manifest([1], progress=False),
        "load a missing folder": lambda: od.load(folder / "nothing"),
        "pairs of other lengths": lambda: od.migrate(arrays["a"], arrays["b"][:9], **silent),
        "embeddings as a text path": lambda: od.migrate("old.npy", arrays["b"], **silent),
        "embeddings of strings": lambda: od.migrate(arrays["a"].astype(str), arrays["b"], **silent),
        "unknown baselines of a migration": lambda: od.migrate(arrays["a"], arrays["b"], baselines="some", **silent),
        "a transfer to no data": lambda: od.transfer(result, [], data=data, **silent),
        "missing items of a transfer": lambda: od.transfer(result, data, data=data, missing="some", **silent),
        "unknown option of a transfer": lambda: od.TransferSettings().evolve(options=("guess",)),
        "unknown preset of a transfer": lambda: od.transfer(result, data, data=data, settings="hopa", **silent),
        "a kit that is missing": lambda: od.Kit.load("nothing"),
        "unknown engine": lambda: od.train_experts(data, **few, **silent, engine="rey"),
        "tracker without a folder": lambda: od.distill(data, **few, **silent, trackers=["tensorboard"]),
    }
    found = {}
    for name, act in cases.items():
        try:
            act()
        except Exception as error:
            found[name] = (type(error).__name__, str(error))
        else:
            found[name] = ("", "no error")
    print(json.dumps(found))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
