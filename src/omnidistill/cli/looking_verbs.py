"""The verbs `inspect`, `doctor`, `cite`, `presets` and `config`: what may be typed, and what is printed. No logic."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from omnidistill.cli.printing import add_json, tell
from omnidistill.cli.settings import add_settings, add_verb, config_of


def add_doctor_verb(added: Any) -> None:
    """Add `doctor` to the subparsers of the command line."""
    add_json(
        add_verb(added, "doctor", doctor, "check this machine and installation: versions, speed, disk", light=True)
    )


def add_looking_verbs(added: Any) -> None:
    """Add the other four to the subparsers of the command line."""
    looking = add_verb(added, "inspect", inspect, "say what a folder or file holds: shapes, bytes, licences")
    looking.add_argument(
        "path", type=Path, metavar="PATH", help="a set, heads, experts, a run, a comparison, a manifest, an export ..."
    )
    looking.add_argument("--verify", action="store_true", help="read everything once and compare it with its checksums")
    add_json(looking)

    listing = add_verb(
        added, "presets", presets, "list the methods and comparisons that ship with the package", light=True
    )
    add_json(listing)

    showing = add_verb(
        added, "config", show_config, "print the settings in effect, or explain every setting", light=True
    )
    add_settings(showing)
    showing.add_argument("--explain", action="store_true", help="every setting with default, unit and reason")
    add_json(showing)

    citing = add_verb(added, "cite", cite, "print BibTeX of the methods and encoders used", light=True)
    citing.add_argument(
        "names", nargs="*", metavar="RUN|METHOD", help="runs, comparisons, methods, encoders (default: this program)"
    )
    add_json(citing)


def inspect(options: argparse.Namespace) -> None:
    """Print what lies at a path."""
    from omnidistill.experiments.inspection import inspect

    found = inspect(options.path, options.verify)
    tell(options, found.content(), found.lines())


def doctor(options: argparse.Namespace) -> int:
    """Print what was found; 1 where something needed does not work."""
    from omnidistill.core.doctor import examine

    found = examine()
    tell(options, found.content(), found.lines())
    return 1 if found.broken else 0


def cite(options: argparse.Namespace) -> None:
    """Print BibTeX entries."""
    from omnidistill.experiments.cite import cite

    entries = cite(options.names)
    tell(options, entries, ["\n\n".join(entries.values())])


def presets(options: argparse.Namespace) -> None:
    """List the presets and comparisons that ship with the package."""
    from omnidistill.config import describe_comparisons, describe_presets

    presets, comparisons = describe_presets(), describe_comparisons()
    width = max(map(len, [*presets, *comparisons]))
    lines = []
    for title, known in (
        ("methods (--preset of distill, --methods of compare)", presets),
        ("comparisons (--preset of compare)", comparisons),
    ):
        lines += [title, *(f"  {name:{width}}  {text}" for name, text in known.items())]
    tell(options, {"methods": presets, "comparisons": comparisons}, lines)


def show_config(options: argparse.Namespace) -> None:
    """Print the settings in effect, or what every setting means."""
    from omnidistill.config import describe_fields

    if options.explain:
        fields = list(describe_fields())
        content = {key: {"default": default or None, "explanation": text} for key, default, text in fields}
        tell(options, content, [f"{key:42} {default:>16}  {text}" if default else f"\n{key}: {text}"
                                for key, default, text in fields])  # fmt: skip
    else:
        config = config_of(options)
        tell(options, config.model_dump(mode="json"), [config.model_dump_json(indent=1)])
