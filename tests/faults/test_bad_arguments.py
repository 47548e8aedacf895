"""Bad arguments of the Python functions: one clear line each, in Python terms, and nothing is written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("bad_arguments.py")
TOLD = {
    "list of features": "features: found a list; pass a dict with one array of shape (rows, width) per modality",
    "arrays of other lengths": "modality 'b': 9 rows, but there are 40 ids",
    "groups of another length": "groups: found 2 entries for 40 rows; pass one entry per row",
    "data as a list": "data: found a list; pass the name of a dataset or the Path of a dataset folder",
    "data as a text path": "pass Path('SET')",
    "config as a dict": "config: found a dict; pass a RunConfig or the pathlib.Path of a TOML file",
    "settings as a number": "settings: found 3; pass a dict such as {'distill.iterations': 500}",
    "settings as a list of pairs": "settings: found ('distill.size', 4); pass a dict",
    "settings without a value": "setting distill.size: expected key=value",
    "unknown setting in a dict": "unknown setting 'distill.sise'; did you mean 'distill.size'?",
    "size and bytes": "bytes='1%' and size=4: both set distill.size; use only one",
    "size twice": "size=4 and setting distill.size=5: both set distill.size",
    "preset and config": "preset and config both define the settings; pass only one",
    "unknown preset": "unknown preset 'hoppa'; did you mean 'hopa'?",
    "heads as a list": "heads: found a list; pass a pathlib.Path, or a dict",
    "heads of another modality": "heads: the data have no modality 'c'; choose from a, b",
    "modalities that are none": "modality 'z': not in the dataset, which has the modalities a, b",
    "a device that is no name": "device='gpu': unknown device; choose from auto, cpu",
    "a device that is missing": "device='cuda:99': ",
    "evaluate a list": "result: found a list; pass the result of distill()",
    "compare nothing": "no methods to compare; pass methods or preset",
    "compare config as a dict": "config: found a dict; pass a ComparisonConfig",
    "recall of a list": "embeddings: found a list; pass a dict that maps at least two modalities to arrays",
    "fit a list": "features: found a list; pass a dict",
    "transform before fit": "not fitted yet; call fit first",
    "encode with a text": "encoders: found the string 'clip-image'; pass a list",
    "encode on a missing device": "device='cuda:99': ",
    "pack a dict of arrays": "source: found a dict; pass a path, ",
    "pack a text path": "nothing: no such file or folder; check the path",
    "a manifest of a list": "source: found a list; pass a path, ",
    "pairs of other lengths": "old: has 40 rows, but new has 9; row i of both must belong to the same item",
    "embeddings as a text path": "old: found 'old.npy'; pass an array, the Path of a .npy file, or SET:MODALITY",
    "embeddings of strings": "old: dtype is <U32; embeddings must be real numbers",
    "unknown baselines of a migration": "baselines='some': unknown; choose from 'all', 'quick' and 'none'",
    "a transfer to no data": "runs and to: neither list may be empty; pass at least one run, and the data of at",
    "missing items of a transfer": "missing='some': unknown; choose 'error' or 'drop'",
    "unknown option of a transfer": "options contains the unknown name 'guess'; choose from mixture, nearest, map",
    "unknown preset of a transfer": "preset='hopa': not a preset of transfer; choose from paper-table-4",
    "a kit that is missing": "nothing: not an omnidistill artifact",
    "unknown engine": "engine='rey': engine 'rey' is not installed",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    folder = tmp_path_factory.mktemp("here")
    (folder / "items.csv").write_text("id,split,text\na,train,one\n")
    done = subprocess.run([sys.executable, PROGRAM, folder], capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in folder.iterdir()] == ["items.csv"]
    errors: dict[str, tuple[str, str]] = json.loads(done.stdout)
    return errors


def test_every_one_is_one_line_in_python_terms(found: dict[str, tuple[str, str]]) -> None:
    assert len(found) > 40
    for name, (kind, message) in found.items():
        assert kind == "InputError", (name, kind, message)
        assert "\n" not in message, (name, message)
        assert " --" not in message, (name, message)
        assert not message.startswith("--"), (name, message)
        assert "/" not in message or name == "load a missing folder", (name, message)


@pytest.mark.parametrize("name", TOLD)
def test_it_says_what_is_wrong_and_what_to_do(name: str, found: dict[str, tuple[str, str]]) -> None:
    assert TOLD[name] in found[name][1], found[name][1]
