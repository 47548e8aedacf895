"""Check that type checkers see the public interface with its types; `make check` runs this.

The type completeness score of pyright is the share of public symbols (names of modules without a leading underscore,
their attributes and methods) whose types are declared and complete. Types that other packages leave unknown are not
counted. `basedpyright` is a build of pyright that pip installs complete, so nothing is downloaded here.

The score does not show that a decorator replaces a class by its base class, so `typed_usage.py` is checked too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
USAGE = Path(__file__).with_name("typed_usage.py")
LEAST_SCORE = 0.95


def pyright(*options: str) -> dict[str, Any]:
    """Return the report of pyright on the sources of this checkout, with the packages of this interpreter."""
    # With --verifytypes pyright ignores --pythonpath and asks the `python` on PATH where packages are. Without this it
    # would find neither the package, if it is installed editable, nor torch.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, *options]
    result = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        report: dict[str, Any] = json.loads(result.stdout)
    except json.JSONDecodeError:
        sys.exit(f"basedpyright failed (exit status {result.returncode}): {result.stderr or result.stdout}")
    return report


def lines(diagnostics: list[dict[str, Any]]) -> list[str]:
    """Return one line for each diagnostic: file, line, and the first line of the message."""
    return [f"  {place(each)}{each['message'].splitlines()[0]}" for each in diagnostics]


def place(diagnostic: dict[str, Any]) -> str:
    if not diagnostic.get("file") or "range" not in diagnostic:
        return ""
    return f"{os.path.relpath(diagnostic['file'], ROOT)}:{diagnostic['range']['start']['line'] + 1}: "


def check_score() -> list[str]:
    """Print the score and the symbols without a complete type; return what is wrong."""
    report = pyright("--ignoreexternal", "--verifytypes", "omnidistill")
    completeness = report["typeCompleteness"]
    folder = completeness.get("packageRootDirectory") or "no folder"
    if report["generalDiagnostics"] or Path(folder).resolve() != ROOT / "src/omnidistill":
        return [f"type completeness: pyright checked {folder}", *lines(report["generalDiagnostics"])]
    for symbol in completeness["symbols"]:
        if symbol["isExported"] and (symbol["isTypeAmbiguous"] or not symbol["isTypeKnown"]):
            print(symbol["name"], *lines(symbol["diagnostics"]), sep="\n")
    score, counts = completeness["completenessScore"], completeness["exportedSymbolCounts"]
    number = f"{counts['withKnownType']} of {sum(counts.values())} public symbols have complete types"
    print(f"type completeness {100 * score:.1f} %: {number}")
    return [] if score >= LEAST_SCORE else [f"type completeness must be at least {100 * LEAST_SCORE:.0f} %"]


def check_usage() -> list[str]:
    """Return what pyright finds wrong in the code of a user."""
    return lines(pyright("--level", "error", str(USAGE))["generalDiagnostics"])


if __name__ == "__main__":
    problems = [*check_score(), *check_usage()]
    print(*problems, sep="\n", end="\n" if problems else "")
    sys.exit(1 if problems else 0)
