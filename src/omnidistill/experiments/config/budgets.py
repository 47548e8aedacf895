"""Size budgets: find the largest number of rows for which the files of a set fit a budget in bytes.

With one set per pair of modalities, the files of all sets together must fit the budget.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from itertools import combinations

from omnidistill.data.featureset import FeatureSet
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.distillation.budget import LEAST_ROWS, BudgetTooSmallError, parse_budget, training_bytes
from omnidistill.distillation.loop_settings import LoopSettings
from omnidistill.distillation.shipped_bytes import planned_bytes
from omnidistill.experiments.config.run_config import RunConfig
from omnidistill.methods import Method
from omnidistill.models.storages.coded import MOST_BITS, CodedStorage


def resolve_size(config: RunConfig, data: FeatureSet) -> RunConfig:
    """Return the settings with the size budget replaced by the largest number of rows that fits the budget.

    Settings without a budget are returned unchanged. Otherwise, two more settings may change:

    - The rank of the similarity matrix is reduced if it exceeds the number of rows that students train on (stored rows
      times views).
    - Every method has a largest number of rows. If this number fits, entropy-coded rows get more bits per number, as
      far as the budget and the storage allow.

    Raises:
        BudgetTooSmallError: fewer than 2 rows fit; the message states the smallest possible budget.
        InputError: the budget exceeds the size of the training features.
    """
    budget = config.distill.size
    if not isinstance(budget, str):
        return config
    whole, steps = training_bytes(data), data.preprocessing
    most = parse_budget(budget, whole)
    sizes = range(LEAST_ROWS, config.distill.most_rows(data.split("train")) + 1)
    fitting = bisect_right(sizes, most, key=lambda size: run_bytes(_resized(config, size), data.widths, steps))
    if not fitting:
        least = run_bytes(_resized(config, LEAST_ROWS), data.widths, steps)
        remedy = f"use a budget of at least {least}, or store rows in fewer bits ('distill.storage.bits')"
        if least > whole:
            remedy = f"these exceed the {whole:,} bytes of the training features, so set a number of rows instead"
        raise BudgetTooSmallError(
            f"budget {budget!r}: too small; method '{config.method}' needs at least {LEAST_ROWS} rows, "
            f"which take {least:,} bytes with means and manifest; {remedy}"
        )
    resized = _resized(config, sizes[fitting - 1])
    return resized if fitting < len(sizes) else _with_more_bits(resized, most, data)


def run_bytes(config: RunConfig, widths: Mapping[str, int], preprocessing: Preprocessing | None = None) -> int:
    """Return the file size in bytes of a run's set, or the total if there is one set per pair of modalities.

    Args:
        config: the settings of the run.
        widths: width p_m of the features of each modality.
        preprocessing: the preprocessing of the data, whose means are stored in each set. If None, assume
            that features are centred and that the means are stored with 8 bits per value.
    """
    steps = Preprocessing.usual(widths) if preprocessing is None else preprocessing
    parts = [tuple(widths)] if config.joint else combinations(widths, 2)
    return sum(
        planned_bytes(config.distill.spec({name: widths[name] for name in part}), steps.only(part)) for part in parts
    )


def _with_more_bits(config: RunConfig, most: int, data: FeatureSet) -> RunConfig:
    """Return the settings with as many bits per number (in steps of 0.1) as fit into `most` bytes.

    Only entropy-coded rows get more bits.
    """
    storage = config.distill.storage
    if not isinstance(storage, CodedStorage):
        return config
    tenths = range(math.ceil(10 * storage.bits) + 1, 10 * MOST_BITS + 1)
    finer = [config.evolve(distill=config.distill.evolve(storage=storage.evolve(bits=each / 10))) for each in tenths]
    fitting = bisect_right(finer, most, key=lambda each: run_bytes(each, data.widths, data.preprocessing))
    return finer[fitting - 1] if fitting else config


def _resized(config: RunConfig, size: int) -> RunConfig:
    method: Method = config.distill
    changes: dict[str, object] = {"size": size}
    if isinstance(method, LoopSettings):
        changes["similarity"] = method.similarity.fit_to(method.storage.num_rows(size))
    return config.evolve(distill=method.evolve(**changes))
