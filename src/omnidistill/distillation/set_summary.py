"""Short descriptions of a distilled set, as text and as an HTML table, for interactive sessions and notebooks."""

from __future__ import annotations

from omnidistill.core.html_table import html_table
from omnidistill.distillation.set_spec import SetSpec


def summary_line(spec: SetSpec, method: str, num_bytes: int) -> str:
    """Return the method, rows, size and recipe of a set in one line.

    Args:
        spec: specification of the set.
        method: name of the method that produced the set; may be empty.
        num_bytes: size of the set.
    """
    total = spec.storage.num_rows(spec.size)
    views = f" ({total} to train on)" if total != spec.size else ""
    widths = ", ".join(f"{name} {width}" for name, width in spec.modalities.items())
    title = f"{method or 'unknown method'}: {spec.size} rows{views} of {widths}"
    return f"DistilledSet({title}; {num_bytes:,} bytes; {spec.recipe.title})"


def summary_table(spec: SetSpec, method: str, num_bytes: int) -> str:
    """Return the properties of a set as an HTML table. The arguments are those of `summary_line`."""
    total = spec.storage.num_rows(spec.size)
    views = f" ({total:,} to train on)" if total != spec.size else ""
    rows = [
        ("rows", f"{spec.size:,}{views}"),
        ("modalities and widths", ", ".join(f"{name} {width:,}" for name, width in spec.modalities.items())),
        ("storage", spec.storage.title),
        ("target similarity", spec.similarity.kind),
        ("recipe", spec.recipe.title),
        ("bytes", f"{num_bytes:,}"),
    ]
    return html_table(f"DistilledSet: {method or 'unknown method'}", rows)
