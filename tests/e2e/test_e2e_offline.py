"""The whole path, in a process that can open no socket and unpickle nothing, from feature files to the page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from omnidistill.data.planted import planted
from small_runs import ROWS, widths

PROGRAM = """
import json, os, pickle, socket, sys
import _pickle
from pathlib import Path

class Refused(AssertionError):
    pass

def refuse(*arguments, **named):
    raise Refused(f"refused: {arguments}")

class NoSocket(socket.socket):
    __init__ = refuse

class NoUnpickler(pickle._Unpickler):
    __init__ = load = refuse

socket.socket = NoSocket
socket.create_connection = socket.getaddrinfo = refuse
for module in (pickle, _pickle):
    module.Unpickler, module.load, module.loads = NoUnpickler, refuse, refuse

folder = Path(sys.argv[1])
from omnidistill.cli.main import main

smoke = ["--preset", "smoke", "--set", "heads.width=8"]
SET, HEADS, EXPERTS, RUN = (str(folder / name) for name in ("SET", "HEADS", "EXPERTS", "RUN"))
for verb in (
    ["pack", "--features", str(folder / "features.npz"), "--table", str(folder / "rows.jsonl"), "-o", SET],
    ["heads", SET, *smoke, "-o", HEADS],
    ["experts", SET, *smoke, "--heads", HEADS, "-o", EXPERTS],
    ["distill", SET, *smoke, "--heads", HEADS, "--experts", EXPERTS, "-o", RUN],
    ["distill", SET, *smoke, "--heads", HEADS, "--experts", EXPERTS, "-o", RUN, "--resume"],
    ["evaluate", RUN],
):
    assert main(verb) == 0, verb

for attempt in (socket.socket, lambda: pickle.Unpickler(sys.stdin.buffer), lambda: pickle.loads(b"")):
    try:
        attempt()
    except Refused:
        continue
    raise SystemExit("the guards do not hold")
print("done")
"""


def test_without_a_socket_and_without_pickle(tmp_path: Path) -> None:
    raw = planted(widths(3), ROWS, latent=6, positives_per_group=2)
    np.savez(tmp_path / "features.npz", **{name: x.numpy() for name, x in raw.features.items()})
    columns = zip(raw.ids, raw.groups, raw.splits, strict=True)
    rows = [{"id": name, "group": group, "split": split} for name, group, split in columns]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("done\n")
    page = (tmp_path / "RUN" / "report.html").read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.rstrip().endswith("</html>")
    for loading in ('src="http', "src='http", 'href="http://', "url(http", "@import", "<script src"):
        assert loading not in page  # one file that loads nothing
    assert {path.name for path in tmp_path.iterdir()} == {
        *("features.npz", "rows.jsonl", "SET", "HEADS", "EXPERTS", "RUN")
    }  # nothing is written elsewhere, not even at home
