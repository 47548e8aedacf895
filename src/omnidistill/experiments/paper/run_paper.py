"""Compute the tables of the HoPA paper in order, and write one page with our numbers next to the printed ones.

FOLDER/<dataset>/                   a folder of comparisons: heads, experts and sets, which all tables share
FOLDER/<dataset>/paper-table-N.*    a table
FOLDER/paper.json, .md, .html       all finished tables; written after every table
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from omnidistill.core.arguments import argument, setting
from omnidistill.core.engines import Engine
from omnidistill.core.errors import InputError, nearest
from omnidistill.data.datasets import Data, opened
from omnidistill.data.featureset import FeatureSet
from omnidistill.experiments.comparison.compare import compare
from omnidistill.experiments.comparison.plan import Cell, plan_cells
from omnidistill.experiments.config import (
    ComparisonConfig,
    SettingValues,
    entry_config,
    has_setting,
    load_comparison,
)
from omnidistill.experiments.config.benchmark_layouts import BENCHMARKS
from omnidistill.experiments.config.load import as_texts
from omnidistill.experiments.config.settings_tree import keys
from omnidistill.experiments.paper.paper_result import NAME, PaperTables
from omnidistill.experiments.paper.paper_summary import content_of, section_of
from omnidistill.experiments.paper.paper_tables import PlannedTable, plan_tables
from omnidistill.experiments.run.start_heads import GivenHeads
from omnidistill.io.artifacts import exclusive
from omnidistill.io.tracking import Progress, shown
from omnidistill.io.tracking.progress_file import RUNNING, followable
from omnidistill.report.paper_content import PaperContent, PaperSection

Key = tuple[str, str]
"""Number of a table and name of a dataset."""


@dataclass(frozen=True)
class _Job:
    """A table to compute: its comparison, the planned runs (one per method, size and seed), and the data."""

    planned: PlannedTable
    comparison: ComparisonConfig
    cells: Sequence[Cell]
    data: FeatureSet

    @property
    def key(self) -> Key:
        return self.planned.table.number, self.planned.benchmark.name


def paper(
    *,
    msrvtt: Data | None = None,
    vggsound: Data | None = None,
    didemo: Data | None = None,
    tables: Sequence[str | int] | str | int | None = None,
    sizes: Sequence[int] | int | None = None,
    seeds: Sequence[int] | int | None = None,
    num_students: int | None = None,
    settings: SettingValues = (),
    heads: GivenHeads | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    engine: Engine | str = "local",
    device: str | torch.device = "auto",
    progress: Progress | bool = True,
    command: str = "",
) -> PaperTables:
    """Compute the tables of the HoPA paper on given features, and show them next to the numbers that the paper reports.

    Every table uses the published settings and the published evaluation protocol. If a method fails, the others
    continue, and the `failures` of the result contain its error.

    Args:
        msrvtt, vggsound, didemo: a FeatureSet for each dataset, or the Path of a packed dataset. Each must have the
            modalities video, audio and text, and the splits train, validation and test.
        tables: tables to compute: any of 1, 2, 3, 5, 6, 7, 10 and "figure-2". None computes all tables of the given
            datasets. Tables 1, 2 and 3 are about MSR-VTT, VGGSound-S and DiDeMo, respectively. All other tables are
            computed for every given dataset.
        sizes: numbers of synthetic rows: any of 100, 200 and 500 (default: all).
        seeds: random seeds; one set is distilled per seed (default: 0, 1, 2).
        num_students: number of students trained per set, and number of runs per baseline (default: 5).
        settings: settings to change, in the format that `distill` accepts. Methods that lack a setting ignore it.
        heads: initial heads of every student; None pre-trains them on the `heads` split, or draws random ones if the
            data have no `heads` split.
        folder: output folder, in which the tables share heads, experts and sets. A later call with `resume` reuses
            finished sets. None stores nothing, and every table computes its own heads, experts and sets.
        resume: whether to continue in a folder that already contains tables.
        engine: where methods and baselines run: "local", "ray" or "ray:ADDRESS". The results are the same.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        progress: whether to show progress, or the object that shows it.
        command: command line, recorded in the tables.

    Raises:
        InputError: a table is unknown or its dataset is not given; features lack the modalities or splits of their
            dataset; a setting is unknown; the folder contains tables and `resume` is False; or the folder contains
            other files.
        KeyboardInterrupt: the user interrupted the computation; finished sets and tables stay in the folder.
    """
    given = {name: data for name, data in zip(BENCHMARKS, (msrvtt, vggsound, didemo), strict=True) if data is not None}
    planned = plan_tables(_numbers(tables), given)
    features = _checked({name: given[name] for name in given if any(each.benchmark.name == name for each in planned)})
    choices = {"sizes": sizes, "seeds": seeds, "num_students": num_students}
    jobs = list(_jobs(planned, features, as_texts(settings), choices))
    display, root = shown(progress), None if folder is None else Path(folder)
    failures: dict[str, str] = {}
    with nullcontext() if root is None else exclusive(root), followable(display, root) as display:
        sections = {} if root is None else _open_folder(root, resume)
        result = _result(sections, command, failures, root)
        for job in jobs:
            display.note(job.planned.title)
            compared = compare(
                job.data,
                config=job.comparison,
                name=job.planned.table.preset,
                heads=heads,
                folder=root and root / job.planned.benchmark.name,
                resume=root is not None,
                engine=engine,
                device=device,
                progress=display,
                command=command,
            )
            failures |= {f"{job.planned.title}, {cell}": error for cell, error in compared.failures.items()}
            sections[job.key] = section_of(job.planned, compared.content, job.cells, job.data)
            result = _result(sections, command, failures, root)
    return result


def _result(
    sections: Mapping[Key, PaperSection], command: str, failures: Mapping[str, str], root: Path | None
) -> PaperTables:
    """Return the finished tables. If `root` is given, also save them in this folder."""
    result = PaperTables(content_of(sections.values(), command), dict(failures))
    return result if root is None else result.save(root)


def _numbers(tables: Sequence[str | int] | str | int | None) -> list[str] | None:
    if tables is None:
        return None
    return [str(tables)] if isinstance(tables, str | int) else [str(number) for number in tables]


def _checked(given: Mapping[str, Data]) -> dict[str, FeatureSet]:
    """Return the features of every dataset.

    Raises:
        InputError: features do not have the modalities and splits of their dataset.
    """
    features = {}
    for name, data in given.items():
        features[name] = opened(data)
        source = argument(name, data if isinstance(data, str | Path) else None)
        BENCHMARKS[name].check(features[name], source)
    return features


def _jobs(
    planned: Sequence[PlannedTable],
    features: Mapping[str, FeatureSet],
    settings: Sequence[str],
    choices: Mapping[str, Any],
) -> Iterator[_Job]:
    """Yield every table to compute, with its settings and data.

    A table ignores settings that none of its methods has.

    Raises:
        InputError: a setting is invalid; a table cannot be computed from the data; or, after the last table, one of the
            settings belongs to no method of any table.
    """
    used: set[str] = set()
    known: set[str] = set()
    for each in planned:
        given = choices if each.table.benchmark else {**choices, "benchmark": each.benchmark.name}
        _, plain = load_comparison(preset=each.table.preset, settings=settings, **given)
        configs = [entry_config(entry, plain.sizes[0], plain.seeds[0], plain) for entry in plain.methods]
        apply = [text for text in settings if any(has_setting(config, text) for config in configs)]
        used |= set(apply)
        known |= {key for config in configs for key in keys(config.model_dump())}
        _, comparison = load_comparison(preset=each.table.preset, settings=apply, **given)
        data = features[each.benchmark.name]
        try:
            yield _Job(each, comparison, plan_cells(comparison, data), data)
        except InputError as error:
            raise InputError(f"{each.title}: {error}") from None
    for text in settings:
        if text not in used:
            key = text.partition("=")[0].strip()
            raise InputError(
                f"{setting(text)}: none of the methods in these tables has the setting '{key}'; 'omnidistill config "
                f"--explain' lists settings{nearest(key, known)}"
            )


def _open_folder(root: Path, resume: bool) -> dict[Key, PaperSection]:
    """Return the tables that are stored in a folder, or an empty dict if the folder is empty.

    Raises:
        InputError: the folder contains tables and `resume` is False, or it contains other files.
    """
    path = root / f"{NAME}.json"
    if not path.exists():
        if any(entry.name not in (".lock", RUNNING) for entry in root.iterdir()):
            raise InputError(f"{root}: exists and is not empty; choose another folder")
        return {}
    stored = PaperContent.from_file(path)
    if not resume:
        raise InputError(
            f"{root}: already contains tables of the paper; continue or extend them with {argument('resume', True)}, "
            "or choose another folder"
        )
    return {(section.number, section.benchmark): section for section in stored.sections}
