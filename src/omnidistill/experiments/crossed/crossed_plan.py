"""The plan of a crossed table: the combinations of set, recipe and model, and which of them share a result.

A *cell* is one entry of a table. Its *work item* (`Work`) is the result that must be computed for it. Some recipes do
not use initial heads. With such a recipe, all linear heads of the same width share one work item.
"""

from __future__ import annotations

from dataclasses import dataclass

from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.crossed.crossed_models import Model
from omnidistill.experiments.crossed.crossed_settings import CrossedSettings, PartName, SetEntry
from omnidistill.methods.learn import Learn
from omnidistill.models.storages import RowStorage

ALL_ROWS, INITIAL = "all rows", "initial"
"""Sources of work items that use no set: training on all rows, and models before training."""
ROBUSTNESS = {
    "own recipe": "",
    "learning rate x 1/2": "rate/2",
    "learning rate x 2": "rate*2",
    "steps x 1/2": "steps/2",
    "steps x 2": "steps*2",
    "shuffled batches": "shuffled",
    "views off": "no-views",
    "ridges x 1/2": "ridge/2",
    "ridges x 2": "ridge*2",
}
"""Columns of the robustness table, and the name of the change to the recipe in each column."""


@dataclass(frozen=True)
class Work:
    """A work item, that is, one result to compute: a distilled set, or the recall of a model.

    Attributes:
        source: what the model is trained on. This is the name of a set, the name of a teacher (heads that networks
            learn to reproduce), `ALL_ROWS`, or `INITIAL` for no training.
        recipe: how the model is trained, such as "own" or "infonce"; "start" means no training. If the work item
            distils the set `source`, the recipe is "set".
        model: the linear heads or networks to train.
        variant: a value of `ROBUSTNESS` that names a change to the set's own recipe; "" for no change.
        share: share of the training groups whose pairs are mismatched on purpose.
    """

    source: str
    recipe: str
    model: Model
    variant: str = ""
    share: float = 0.0

    @property
    def title(self) -> str:
        """Short description of the work item (a result to compute) for the progress display."""
        changes = [self.variant, f"{self.share:.0%} mismatched" if self.share else ""]
        return " ".join([self.source, "/", self.recipe, "/", self.model.name, *filter(None, changes)])

    @property
    def kind(self) -> str:
        """Kind of the work item (a result to compute). Work items of the same kind take about the same time."""
        return f"{self.source if self.recipe == 'set' else ''} {self.recipe} {self.model.is_network}"

    @property
    def set_work(self) -> Work:
        """The work item that distils the set `source`. It must finish before a model is trained on this set."""
        return Work(self.source, "set", OWN, share=self.share)


@dataclass(frozen=True)
class PlannedCell:
    """A cell of a crossed table, and the work items (results to compute) that it needs.

    Attributes:
        part: the table that contains the cell: "table", "robustness" or "mismatch".
        source: what the model of the cell is trained on, such as the name of a set (see `Work`).
        recipe: how this model is trained (see `Work`).
        column: name of the cell's column.
        model: the model.
        work: the work item whose recall the cell shows.
        control: the work item for the same training on random rows instead of the set; None if there is none.
    """

    part: PartName
    source: str
    recipe: str
    column: str
    model: Model
    work: Work
    control: Work | None = None


OWN = Model("own", "own")


def plan(settings: CrossedSettings, configs: dict[str, RunConfig]) -> tuple[list[Work], list[PlannedCell]]:
    """Return all work items, in the order in which they run, and the cells that show their results.

    A work item is one result to compute: a distilled set, or the recall of a model. Linear models come first, because
    networks take longest. Correctly paired training data come before data with mismatched pairs. The references
    (untrained models, and models trained on all rows) come before the sets.

    Args:
        settings: settings of the crossed table.
        configs: {name of a set: settings of its run}. The settings must state a number of rows, not a size budget.
    """
    cells: list[PlannedCell] = []
    if "table" in settings.parts:
        for recipe in settings.recipes:
            for entry in settings.sets:
                for model in settings.all_models:
                    if applies(recipe, model):
                        work = Work(entry.name, recipe, _canonical(recipe, model, configs[entry.name]))
                        control = _control(settings, configs, entry, recipe, model)
                        cells.append(PlannedCell("table", entry.name, recipe, model.name, model, work, control))
        if "map" in settings.recipes:
            cells += _taught(settings)
    if "robustness" in settings.parts:
        cells += [cell for entry in settings.sets for cell in _robustness(entry, configs[entry.name])]
    if "mismatch" in settings.parts:
        cells += _mismatch(settings, configs)
    models = list(dict.fromkeys(cell.model for cell in cells))
    references = [work for model in models for work in reference_works(model, settings.heads.width)]
    works = [*references, *(work for cell in cells for work in (cell.work, cell.control) if work)]
    names = [entry.name for entry in settings.sets]
    sources = [INITIAL, ALL_ROWS, *names, *(teacher.name for teacher in settings.teachers)]
    works.sort(key=lambda work: (work.model.is_network, work.share, sources.index(work.source)))
    steps = [step for work in works for step in ([work.set_work, work] if work.source in names else [work])]
    return list(dict.fromkeys(steps)), cells


def applies(recipe: str, model: Model) -> bool:
    """Return whether a model can be trained by a recipe, so that a crossed table has cells for this combination.

    The recipe "anchor" computes linear heads in closed form, so it does not apply to networks. The recipe "stacked"
    applies only to pre-trained heads, and the recipe "map" only to networks. All other recipes apply to all models.
    """
    if recipe == "anchor":
        return not model.is_network
    if recipe == "stacked":
        return model.is_pretrained
    return model.is_network if recipe == "map" else True


def reference_works(model: Model, own_width: int) -> tuple[Work, Work]:
    """Return two work items (results to compute) for a model: without training, and with training on all rows.

    An untrained network has random weights. For every linear model, even "random", the result without training is that
    of the pre-trained heads for which the sets are distilled. If these heads are wider than the model, they are reduced
    to its output width.

    Args:
        model: the model.
        own_width: output width of these pre-trained heads.
    """
    zero = model if model.is_network else Model.any_start(min(model.width(own_width), own_width))
    return Work(INITIAL, "start", zero), Work(ALL_ROWS, "infonce", model)


def _canonical(recipe: str, model: Model, config: RunConfig) -> Model:
    """Return the model for the work item of this recipe and model, so that equal results are computed only once.

    If the recipe does not use initial heads, all linear heads of the same width have the same result. They are then
    replaced by one model of the kind "any". In all other cases, `model` itself is returned.
    """
    independent = recipe == "anchor" or (recipe == "own" and _is_anchor(config))
    return Model.any_start(model.width(config.heads.width)) if independent and not model.is_network else model


def _is_anchor(config: RunConfig) -> bool:
    return config.distill.placeholder_recipe(2).kind == "anchor"


def _control(
    settings: CrossedSettings, configs: dict[str, RunConfig], entry: SetEntry, recipe: str, model: Model
) -> Work | None:
    """Return the work item that trains on random rows, for comparison with training on the set `entry`.

    The recipe of the work item is `recipe`, except if `recipe` is "own" and the set's own recipe is "anchor". In this
    case, it is "anchor" for linear heads and "map" for networks. Validation then chooses the ridge.

    Return None if the table has no random rows of the same size, or if the set itself consists of random rows.
    """
    random = settings.control(entry)
    if random is None:
        return None
    if recipe == "own" and _is_anchor(configs[entry.name]):
        recipe = "map" if model.is_network else "anchor"
    return Work(random.name, recipe, _canonical(recipe, model, configs[random.name]))


def _taught(settings: CrossedSettings) -> list[PlannedCell]:
    """Return the table cells in which networks learn from teachers, that is, from the heads of a baseline."""
    cells = []
    for teacher in settings.teachers:
        random = settings.control(teacher)
        for model in (model for model in settings.all_models if model.is_network):
            control = None if random is None else Work(random.name, "map", model)
            work = Work(teacher.name, "map", model)
            cells.append(PlannedCell("table", teacher.name, "map", model.name, model, work, control))
    return cells


def _robustness(entry: SetEntry, config: RunConfig) -> list[PlannedCell]:
    cells = []
    for column, variant in ROBUSTNESS.items():
        of_anchors = variant.startswith("ridge")
        if variant and of_anchors != _is_anchor(config):
            continue
        if variant == "shuffled" and not (isinstance(config.distill, Learn) and config.distill.order == "fixed"):
            continue  # without fixed batches, students draw their own anyway
        if variant == "no-views" and not _has_views(config):
            continue
        work = Work(entry.name, "own", _canonical("own", OWN, config), variant)
        cells.append(PlannedCell("robustness", entry.name, "own", column, OWN, work))
    return cells


def _has_views(config: RunConfig) -> bool:
    storage = config.distill.resolved_storage
    return isinstance(storage, RowStorage) and storage.views != 1


def _mismatch(settings: CrossedSettings, configs: dict[str, RunConfig]) -> list[PlannedCell]:
    cells = []
    for share in settings.mismatch_shares:
        for entry in settings.sets:
            if entry.preset in settings.mismatch_presets:
                work = Work(entry.name, "own", _canonical("own", OWN, configs[entry.name]), share=share)
                cells.append(PlannedCell("mismatch", entry.name, "own", f"{share:.0%}", OWN, work))
        for recipe in ("cca", "infonce"):
            work = Work(ALL_ROWS, recipe, OWN, share=share)
            cells.append(PlannedCell("mismatch", ALL_ROWS, recipe, f"{share:.0%}", OWN, work))
    return cells
