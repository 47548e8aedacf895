"""Measure speed and memory: `python benchmarks/bench.py [--quick] [--only NAME] [--device NAME]`.

On the CPU and without --only, the script writes its results to benchmarks/results/.

The cases of one table run alternately in one process (A B C A B C ...), after one warm-up round. A time is the median
over the rounds, with minimum and maximum. A ratio is the median of the ratios within a round, so that other load on the
machine affects both of its sides.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict

import torch

import task
import workloads
from measuring import (
    RESULTS,
    Case,
    Cell,
    Extent,
    Table,
    add_device,
    interleaved,
    machine,
    memory_status,
    milliseconds,
    peak_megabytes,
    ratio,
    spread,
)
from task_workloads import task_iteration, task_problem
from workloads import OBJECTIVES

STUDENTS = ("HoPA", "pairwise wBCE")
FORMS = ("limit", "dual", "TESLA", "TESLA, textbook", "BPTT")
SETTING = "M = 3, widths 1280, 1024, 768 -> 1024, T = 16, b = 25"


def iteration(extent: Extent) -> list[Table]:
    rows: list[tuple[Cell, ...]] = []
    exact, textbook = 0.0, 0.0
    for num_rows in (100, 500) if extent.quick else (100, 200, 500):
        made = workloads.problem(num_rows, device=extent.device)
        for name in STUDENTS:
            cases = workloads.iteration_cases(OBJECTIVES[name], made)
            gradients = {}
            for form in FORMS[1:]:
                cases[form]()
                gradients[form] = made.row_gradient()
            exact = max(exact, workloads.relative_difference(gradients["dual"], gradients["BPTT"]))
            textbook = max(textbook, workloads.relative_difference(gradients["TESLA, textbook"], gradients["TESLA"]))
            times = interleaved(cases, 5 if extent.quick else 11, extent.device)
            speed = workloads.big_product_flops(made) / statistics.median(times["limit"]) / 1e9
            for form in FORMS:
                ratios = [ratio(times, form, other) for other in ("dual", "limit")]
                rows.append(
                    (num_rows, name, form, milliseconds(times[form]), *ratios, speed if form == "limit" else "")
                )
    note = (
        f"Forward pass, matching loss and backward pass; {SETTING}. limit: only the large products (X W0^T, X D^T and "
        "their gradients with respect to X), over the rows that the T batches visit (100, 200 and 400 of 500). TESLA: "
        "the library's version, with closed-form inner gradients. TESLA, textbook: inner gradients by autograd of the "
        "loss, differentiated again in pass 2. dual and BPTT are exact; both versions of TESLA are approximations. "
        f"Largest relative difference between row gradients: {exact:.0e} for dual and BPTT, {textbook:.0e} for the two "
        "versions of TESLA."
    )
    return [
        Table("Outer iteration", note, ("N", "objective", "form", "ms", "/ dual", "/ limit", "GFLOP/s"), tuple(rows))
    ]


def memory(extent: Extent) -> list[Table]:
    rows: list[tuple[Cell, ...]] = [
        (num_rows, name, *(peak_megabytes("iteration", form, name, num_rows, device=extent.device) for form in FORMS))
        for num_rows in ((100,) if extent.quick else (100, 500))
        for name in (STUDENTS[:1] if extent.quick else STUDENTS)
    ]
    note = (
        f"Resident memory in MB at the peak of two outer iterations ({SETTING}), minus the resident memory after the "
        "inputs (weights, targets, rows) were built; each number is from a fresh process."
    )
    return [Table("Peak memory of an outer iteration", note, ("N", "objective", *FORMS), tuple(rows))]


def growth(extent: Extent) -> list[Table]:
    dimensions: dict[str, tuple[tuple[int, ...], Callable[[int], workloads.Problem]]] = {
        "N": ((50, 100, 200, 400, 800), lambda size: workloads.problem(size, device=extent.device)),
        "T": ((8, 16, 32, 64, 128), lambda size: workloads.problem(100, num_steps=size, device=extent.device)),
        "M": (
            (2, 3, 4, 5, 6),
            lambda size: workloads.problem(100, widths=workloads.WIDTHS[:size], device=extent.device),
        ),
    }
    tables = []
    for symbol, (sizes, problem) in dimensions.items():
        rows: list[tuple[Cell, ...]] = []
        for size in sizes[::2] if extent.quick else sizes:
            made = problem(size)
            cases: dict[str, Case] = {"limit": lambda made=made: workloads.big_products(made)}  # type: ignore[misc]
            for name in STUDENTS:
                cases[name] = workloads.iteration_cases(OBJECTIVES[name], made)["dual"]
            times = interleaved(cases, 3 if extent.quick else 7, extent.device)
            rows.append(
                (size, *(milliseconds(times[case]) for case in cases), *(ratio(times, s, "limit") for s in STUDENTS))
            )
        fixed = ", ".join(f"{name} = {value}" for name, value in (("N", 100), ("T", 16), ("M", 3)) if name != symbol)
        visited = " At most T x b = 400 rows are used." if symbol == "N" else ""
        note = f"Time of an outer iteration in dual form, in ms; {fixed}, b = 25.{visited}"
        columns = (symbol, "limit", *STUDENTS, *(f"{name} / limit" for name in STUDENTS))
        tables.append(Table(f"Growth of the dual form with {symbol}", note, columns, tuple(rows)))
    return tables


def experts(extent: Extent) -> list[Table]:
    num_experts, num_epochs, per_epoch, num_steps = 20, 10, 9000 // 128, 4 if extent.quick else 10
    times = interleaved(
        workloads.expert_cases(num_experts, num_steps, device=extent.device), 2 if extent.quick else 5, extent.device
    )
    scale = per_epoch / num_steps
    rows = []
    for name, seconds in times.items():
        epoch = spread([scale * value for value in seconds])
        rows.append((name, epoch, 100 * ratio(times, "limit", name), epoch.median * num_epochs / 60))
    gigabytes = num_experts * (num_epochs + 1) * 4 * workloads.WIDTH * sum(workloads.WIDTHS[:3]) / 1e9
    note = (
        f"One epoch on 9,000 rows of the same widths, batch size 128 ({per_epoch} steps), for E = {num_experts} "
        f"experts trained as a stack; the time of {num_steps} steps was measured and multiplied by {scale:g}. "
        f"limit: only the matrix products of the steps. Minutes: projected for {num_experts} experts x {num_epochs} "
        f"epochs, without writing their buffer ({gigabytes:.2f} GB)."
    )
    return [Table("Expert epoch", note, ("objective", "s", "share of limit, %", "minutes"), tuple(rows))]


def evaluation(extent: Extent) -> list[Table]:
    num_students, num_steps, num_rows, apart = 10, 100, 100, 0.0
    rows: list[tuple[Cell, ...]] = []
    for name in STUDENTS:
        cases = workloads.evaluation_cases(OBJECTIVES[name], num_students, num_steps, num_rows, extent.device)
        apart = max(apart, workloads.relative_difference(cases["dual"](), cases["parameters"]()))
        times = interleaved(cases, 2 if extent.quick else 7, extent.device)
        rows.append((name, *(spread(times[case]) for case in cases), ratio(times, "parameters", "dual")))
    note = (
        f"Training {num_students} students for {num_steps} steps with b = 25 on N = {num_rows} rows. dual: as the "
        "library trains them (dual form). parameters: as stacked SGD on the heads. Relative difference between the "
        f"updates of the heads: {apart:.0e}."
    )
    return [Table("Evaluation runs", note, ("objective", "dual, s", "parameters, s", "/ dual"), tuple(rows))]


def recall(extent: Extent) -> list[Table]:
    rows = []
    for num_items, rounds in ((10_000, 3),) if extent.quick else ((10_000, 3), (100_000, 1)):
        times = interleaved(workloads.recall_cases(num_items, device=extent.device), rounds, extent.device)
        shares = (100 * ratio(times, name, "limit") for name in ("ranks", "metrics"))
        peak = peak_megabytes("recall", num_items, device=extent.device)
        seconds = (spread(times[name]) for name in ("ranks", "metrics", "limit"))
        rows.append((num_items, *seconds, *shares, peak))
    note = (
        f"Ranks of as many queries as items, in {workloads.RECALL_WIDTH} dimensions and one direction. recall: the "
        "first positive of each query. metrics: all positives, for mAP and nDCG. product: only the scores, in chunks "
        "of 64 MB. peak: memory of metrics in addition to the embeddings, in a fresh process; all scores at once would "
        "take 400 MB and 40 GB."
    )
    shares_of = ("recall / product, %", "metrics / product, %")
    columns = ("items", "recall, s", "metrics, s", "product, s", *shares_of, "peak MB")
    return [Table("Recall", note, columns, tuple(rows))]


SECTIONS: dict[str, Callable[[Extent], list[Table]]] = {
    "iteration": iteration,
    "memory": memory,
    "growth": growth,
    "task": task.section,
    "experts": experts,
    "evaluation": evaluation,
    "recall": recall,
}


def own_peak(case: Sequence[str | int], device: torch.device) -> float:
    """Return how much memory, in MB, this process needs for a case in addition to its inputs."""
    match case:
        case ["iteration", str(form), str(name), int(num_rows)]:
            run = workloads.iteration_cases(OBJECTIVES[name], workloads.problem(num_rows, device=device))[form]
        case ["task", str(shape), int(num_steps)]:
            posed = task_problem(shape, num_steps=num_steps, device=device)
            run = lambda: task_iteration(posed, matching=True)  # noqa: E731
        case ["recall", int(num_items)]:
            run = workloads.recall_cases(num_items, device=device)["metrics"]
        case _:
            raise SystemExit(f"unknown case {case}")
    turns = 1 if case[0] == "recall" else 2
    if device.type == "cuda":
        allocated = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        for _ in range(turns):
            run()
        return (torch.cuda.max_memory_allocated(device) - allocated) / 2**20
    before = memory_status("VmRSS")
    for _ in range(turns):
        run()
    return (memory_status("VmHWM") - before) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the library and compare it with limits and references.")
    parser.add_argument(
        "--quick", action="store_true", help="fewer sizes and rounds; takes about three minutes on two cores"
    )
    parser.add_argument("--only", choices=SECTIONS, help="run only this section")
    add_device(parser)
    parser.add_argument("--peak", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print(own_peak(arguments.peak, arguments.device))
        return
    measured = Extent(arguments.quick, arguments.device)
    computer = machine(measured.device)
    extent = " This is a quick run with fewer sizes and rounds." if measured.quick else ""
    head = f"# Benchmarks\n\n{computer}{extent} ../README.md explains how to read the tables.\n"
    print(head, flush=True)
    tables = []
    for name in [arguments.only] if arguments.only else SECTIONS:
        for table in SECTIONS[name](measured):
            print(table.markdown(), flush=True)
            tables.append(table)
    if not arguments.only and measured.device.type == "cpu":
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "bench.md").write_text("\n".join([head, *(table.markdown() for table in tables)]))
        record = {"machine": computer, "tables": [asdict(table) for table in tables]}
        (RESULTS / "bench.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
