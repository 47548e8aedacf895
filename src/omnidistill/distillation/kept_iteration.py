"""The iteration of a distillation that gave its set."""

from __future__ import annotations

from omnidistill.distillation.outer_loop import Distillation


def kept_iteration(part: Distillation) -> int | None:
    """Return the outer iteration at which the run obtained its set; None if it is unknown.

    If the set does not record it, this is the first iteration with the validation score of the set.
    """
    provenance = part.distilled.provenance
    if provenance.iteration is not None or provenance.validation is None:
        return provenance.iteration
    same = (each.iteration for each in part.records if each.values.get("validation") == provenance.validation)
    return next((iteration for iteration in same if iteration is not None), None)
