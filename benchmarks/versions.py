"""Compare the speed of this version with that of another checkout: `python benchmarks/versions.py CHECKOUT`.

Both versions run the same cases in separate processes, alternately and one at a time, each with its own `src` and its
own `benchmarks/workloads.py`. A ratio is the median of the ratios within a round, so other load on the machine affects
both of its sides. A case is one outer iteration in dual form (forward pass, matching loss, backward pass).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from measuring import Cell, Table, milliseconds, ratio

HERE = Path(__file__).resolve().parents[1]
CASES = [(name, rows) for name in ("HoPA", "pairwise wBCE", "InfoNCE") for rows in (100, 500)]


class Version:
    """A checkout in a separate process, which runs one case per request."""

    def __init__(self, checkout: Path) -> None:
        path = os.pathsep.join([str(checkout / "src"), str(checkout / "benchmarks")])
        command = [sys.executable, str(Path(__file__).resolve()), "--worker", str(checkout)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
        )

    def seconds(self, case: int) -> float:
        """Run a case and return its seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{case}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit("the process of a version ended without an answer; see its error above")
        return float(answer)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def work(checkout: Path) -> None:
    """Run the cases whose numbers are read from standard input, and print their seconds."""
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]
    sys.path.insert(0, str(checkout / "benchmarks"))
    import omnidistill
    import workloads

    if checkout / "src" not in Path(omnidistill.__file__).resolve().parents:
        raise SystemExit(f"imported {omnidistill.__file__} instead of the version in {checkout}")
    problems = {rows: workloads.problem(rows) for rows in (100, 500)}
    cases = [workloads.iteration_cases(workloads.OBJECTIVES[name], problems[rows])["dual"] for name, rows in CASES]
    for line in sys.stdin:
        begun = time.perf_counter()
        cases[int(line)]()
        print(time.perf_counter() - begun, flush=True)


def measured(other: Path, turns: int) -> Table:
    """Return the table that compares both versions."""
    versions = {"this": Version(HERE), "other": Version(other)}
    rows: list[tuple[Cell, ...]] = []
    for number, (name, size) in enumerate(CASES):
        times: dict[str, list[float]] = {label: [] for label in versions}
        for turn in range(turns + 2):
            for label, version in versions.items():
                seconds = version.seconds(number)
                if turn > 1:
                    times[label].append(seconds)
        rows.append((name, size, *(milliseconds(times[label]) for label in versions), ratio(times, "this", "other")))
    for version in versions.values():
        version.close()
    note = f"Outer iteration in dual form, {turns} rounds; median (minimum - maximum)."
    return Table(
        "This version and another", note, ("objective", "N", "this, ms", "other, ms", "this / other"), tuple(rows)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, nargs="?", help="folder of the other version")
    parser.add_argument("--turns", type=int, default=21, help="number of rounds, in addition to two warm-up rounds")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        work(options.worker.resolve())
    elif options.checkout is None or not (options.checkout / "src/omnidistill").is_dir():
        parser.error("give the folder of another checkout, which must contain src/omnidistill")
    else:
        print(measured(options.checkout.resolve(), options.turns).markdown())


if __name__ == "__main__":
    main()
