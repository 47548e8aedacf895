"""The `paper` command."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from omnidistill.cli.options import add_device, add_engine, add_json, add_repetitions, names, numbers, set_of
from omnidistill.cli.output import print_saved_tables, progress, typed_command
from omnidistill.cli.parser import CommandGroup

_DATASETS = {"msrvtt": "MSR-VTT", "vggsound": "VGGSound-S", "didemo": "DiDeMo"}


def add(group: CommandGroup) -> None:
    """Add the `paper` command to a command group (a heading in the program's help)."""
    parser = group.add_command(
        "paper",
        run,
        "compute the tables of the HoPA paper on your features",
        description="Compute the tables of the HoPA paper (arXiv 2604.10666) on the given features, with the published "
        "settings, and write one page that shows the results next to the published numbers. Tables 1 to 3 "
        "use one dataset each. Tables 5, 6, 7 and 10 and figure 2 are computed on every given dataset.",
        main_options=("--msrvtt", "--vggsound", "--didemo", "--tables", "--resume"),
        less_memory="use fewer --students, or smaller --sizes",
        examples=(
            "omnidistill paper --msrvtt SET1 --vggsound SET2 --didemo SET3 -o PAPER",
            "omnidistill paper --msrvtt SET --tables 1,7 --sizes 100 --seeds 0 -o PAPER",
        ),
        notes="'omnidistill compare SET --preset paper-table-1 -o DIR --dry-run' estimates the cost of a table.",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="output folder")
    for name, title in _DATASETS.items():
        parser.add_argument(
            f"--{name}",
            metavar="SET",
            help=f"features of {title}: a dataset folder with the modalities video, audio and text",
        )
    parser.add_argument(
        "--tables",
        type=names,
        metavar="A,B",
        help="comma-separated tables to compute: any of 1,2,3,5,6,7,10,figure-2 (default: all)",
    )
    parser.add_argument(
        "--sizes",
        type=numbers,
        metavar="N,N",
        help="comma-separated numbers of synthetic rows: any of 100,200,500 (default: all)",
    )
    add_repetitions(parser)
    parser.add_argument(
        "--heads",
        type=Path,
        metavar="FILE|DIR",
        help="initial projection heads of all students, such as those of ImageBind: a .safetensors file, or a folder "
        "written by 'heads'",
    )
    parser.add_argument(
        "--set",
        dest="set_values",
        action="append",
        metavar="KEY=VALUE",
        help="change one setting in all methods that have it, for example distill.iterations=500; can be repeated",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="resume an interrupted computation in the output folder, or add tables to the folder",
    )
    add_device(parser)
    add_json(parser)
    add_engine(parser)


def run(options: argparse.Namespace) -> int:
    """Compute the missing parts of the tables, and print them. Return 1 if a method failed."""
    from omnidistill.api import paper

    given = {name: value for name in _DATASETS if (value := getattr(options, name)) is not None}
    data: dict[str, Any] = {name: set_of(value) for name, value in given.items()}
    result = paper(
        **data,
        tables=options.tables,
        sizes=options.sizes,
        seeds=options.seeds,
        num_students=options.students,
        settings=options.set_values or (),
        heads=options.heads,
        folder=options.output,
        resume=options.resume,
        engine=options.engine,
        device=options.device,
        progress=progress(),
        command=typed_command(),
    )
    return print_saved_tables(options, result)
