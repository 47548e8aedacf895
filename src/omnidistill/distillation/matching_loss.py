"""The matching loss of a finished set, computed from the log of its distillation."""

from __future__ import annotations

from omnidistill.distillation.method_result import Distillation


def matching_loss(part: Distillation) -> float | None:
    """Return the matching loss of the set, summed over modalities; None if the log contains no matching loss.

    Each iteration computes the loss of the current set, then updates the set. If iteration k gave the set, record k + 1
    of the log thus contains its loss. This loss also depends on the expert that iteration k + 1 drew. The result is
    therefore the mean over the last tenth of the records up to k + 1. For k = 999, these are the records 901 to 1000.
    """
    matched, iteration = [f"loss/{name}" for name in part.distilled.modalities], part.distilled.provenance.iteration
    of_set = [
        record
        for record in part.records
        if iteration is None or record.iteration is None or record.iteration <= iteration + 1
    ]
    terms = [[record.values[name] for name in matched if name in record.values] for record in of_set]
    losses = [sum(of_record) for of_record in terms if of_record]
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last) if last else None
