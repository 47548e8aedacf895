"""The accessibility rules of axe-core on a page in a browser (https://github.com/dequelabs/axe-core)."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from browser import Browser

_RUN = """axe.run().then((result) => [
  result.passes.length,
  result.violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.html} ${node.failureSummary}`)),
  result.incomplete.filter((rule) => rule.nodes.length === 0).map((rule) => rule.id),
])"""


def axe(browser: Browser) -> tuple[int, list[str]]:
    """Return the number of rules that pass, and the violations, including rules that stopped with an error."""
    browser.run((files("axe_core_python") / "axe.min.js").read_text("utf-8") + ";0")
    passes, violations, stopped = browser.run(_RUN)
    found: list[Any] = [*violations, *(f"{rule}: stopped with an error" for rule in stopped)]
    return passes, found
