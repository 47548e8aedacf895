"""The plan of a crossed table: which combinations of set, recipe and model exist, and which of them share a result.

A *cell* is one entry of a table. Its *work* is what must be computed for it. Recipes that need no start have one work
for all linear heads of a width, so several cells can share it.
"""

from __future__ import annotations

from dataclasses import dataclass

from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.crossed.crossed_models import Model
from omnidistill.experiments.crossed.crossed_settings import CrossedSettings, PartName, SetEntry
from omnidistill.methods.learn import Learn
from omnidistill.models.storages import RowStorage

ALL_ROWS, INITIAL = "all rows", "initial"
"""Sources of works that use no set: training on all rows, and models before training."""
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
"""Columns of the table of robustness, and the name of each change to the recipe."""


@dataclass(frozen=True)
class Work:
    """A result to compute.

    Attributes:
        source: name of a set, `ALL_ROWS` or `INITIAL`.
        recipe: name of a recipe; "set": distil the set; "infonce" and "cca" on all rows; "start": no training.
        model: the model.
        variant: change to the set's own recipe; "" for none.
        share: share of mismatched training groups.
    """

    source: str
    recipe: str
    model: Model
    variant: str = ""
    share: float = 0.0

    @property
    def title(self) -> str:
        """Short description for the progress display."""
        changes = [self.variant, f"{self.share:.0%} mismatched" if self.share else ""]
        return " ".join([self.source, "/", self.recipe, "/", self.model.name, *filter(None, changes)])

    @property
    def kind(self) -> str:
        """Works of one kind take about the same time."""
        return f"{self.source if self.recipe == 'set' else ''} {self.recipe} {self.model.is_network}"

    @property
    def set_work(self) -> Work:
        """The work of distilling the set that this work trains on."""
        return Work(self.source, "set", OWN, share=self.share)


@dataclass(frozen=True)
class PlannedCell:
    """A cell of a table, in the row `source` (and `recipe`) and the column `column`.

    `work` gives its recall, and `control` that of random rows under the same recipe; None if there is none.
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
    """Return all works, in the order in which they run, and the cells that show them.

    References come first, then every set with its linear models, mismatched pairs, and networks, which take longest.

    Args:
        settings: the settings.
        configs: settings of the run of every set, with resolved sizes, by name of the set.
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
    if "robustness" in settings.parts:
        cells += [cell for entry in settings.sets for cell in _robustness(entry, configs[entry.name])]
    if "mismatch" in settings.parts:
        cells += _mismatch(settings, configs)
    models = list(dict.fromkeys(cell.model for cell in cells))
    references = [work for model in models for work in reference_works(model, settings.heads.width)]
    works = [*references, *(work for cell in cells for work in (cell.work, cell.control) if work)]
    sources = [INITIAL, ALL_ROWS, *(entry.name for entry in settings.sets)]
    works.sort(key=lambda work: (work.model.is_network, work.share, sources.index(work.source)))
    steps = [step for work in works for step in ([work] if work.source in sources[:2] else [work.set_work, work])]
    return list(dict.fromkeys(steps)), cells


def applies(recipe: str, model: Model) -> bool:
    """Return whether a recipe makes sense for a model.

    The closed form has linear heads; stacking needs heads that were pre-trained; and regression to the heads of the
    anchors is only needed for networks, because linear heads have the closed form.
    """
    if recipe == "anchor":
        return not model.is_network
    if recipe == "stacked":
        return model.is_pretrained
    return model.is_network if recipe == "map" else True


def reference_works(model: Model, own_width: int) -> tuple[Work, Work]:
    """Return the zero point of the gain and the training on all rows of a model.

    The zero point of linear heads is the own pre-trained heads, cut to the width if they are wider.
    """
    zero = model if model.is_network else Model.any_start(min(model.width(own_width), own_width))
    return Work(INITIAL, "start", zero), Work(ALL_ROWS, "infonce", model)


def _canonical(recipe: str, model: Model, config: RunConfig) -> Model:
    """Return the model whose result this model shares: the same for all starts if the recipe needs no start."""
    independent = recipe == "anchor" or (recipe == "own" and _is_anchor(config))
    return Model.any_start(model.width(config.heads.width)) if independent and not model.is_network else model


def _is_anchor(config: RunConfig) -> bool:
    return config.distill.placeholder_recipe(2).kind == "anchor"


def _control(
    settings: CrossedSettings, configs: dict[str, RunConfig], entry: SetEntry, recipe: str, model: Model
) -> Work | None:
    """Return the work of random rows under the same recipe.

    Random rows have no own recipe with anchors, so they are trained by the recipe whose ridge validation chooses.
    """
    random = settings.control(entry)
    if random is None:
        return None
    if recipe == "own" and _is_anchor(configs[entry.name]):
        recipe = "map" if model.is_network else "anchor"
    return Work(random.name, recipe, _canonical(recipe, model, configs[random.name]))


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
