"""Compare the theory of HoPA with measurements on a run.

The student of the run is trained again, step by step, together with a second student that trains on real rows.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.core.streams import Streams
from omnidistill.data.datasets import Data
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet
from omnidistill.evaluation.theory.measure_theory import measure_theory
from omnidistill.evaluation.theory.paired_students import PairedStudents, Rows
from omnidistill.evaluation.theory.theory_content import TheoryContent
from omnidistill.experiments.diagnosis.diagnosis_result import NAME, Diagnosis, refuse_to_overwrite
from omnidistill.experiments.diagnosis.real_rows import assigned_rows, check_real_rows
from omnidistill.experiments.evaluate_run import open_result
from omnidistill.experiments.run import DistillResult, Run, versions
from omnidistill.io.artifacts import exclusive, unchanged
from omnidistill.io.tracking import Progress, shown
from omnidistill.models.heads import Heads, shared_groups
from omnidistill.models.objectives import Hopa, Objective
from omnidistill.models.objectives.sphere import normalise
from omnidistill.training.recipes import Sgd

MAX_STEPS = 64
"""Number of steps that are measured by default, if the recipe has more."""


def diagnose(
    result: DistillResult | Run | Path,
    data: Data | None = None,
    *,
    real_rows: str = "initial",
    num_steps: int | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    force: bool = False,
    progress: Progress | bool = True,
    command: str = "",
) -> Diagnosis:
    """Compare the lemmas and error bounds of the HoPA paper with measurements at the training steps of a student.

    The student is trained on the distilled set of a run. The set may come from any method, but its training recipe must
    be plain SGD. Everything is computed in float64 on the CPU, and the same arguments give the same files.

    Args:
        result: the result of `distill`, a run, or the Path of a run folder.
        data: the data of the run; None loads them from the recorded location.
        real_rows: training row to compare with each synthetic row: "initial" (its initial value), "nearest" or
            "random".
        num_steps: number of steps; None measures all steps of the recipe, but at most 64.
        seed: seed for all random choices. It does not affect the mini-batches if the recipe fixes them.
        folder: output folder; None writes to RUN/theory, or writes nothing if the run has no folder.
        force: whether to replace the files of an earlier diagnosis.
        progress: whether to show progress, or the object that shows it.
        command: command line, recorded in theory.json.

    Returns:
        The diagnosis, which is also saved if there is an output folder.

    Raises:
        InputError: the run is unfinished, is in use by another process, or has one set per pair of modalities; its
            recipe is not plain SGD; the data are missing; real rows cannot be assigned; or the folder contains an
            earlier diagnosis and `force` is False.
        NotFiniteError: the heads of a student became NaN or Inf.
    """
    check_real_rows(real_rows)
    if num_steps is not None and num_steps < 1:
        raise InputError(
            f"{argument('num_steps', num_steps)}: the number of training steps to measure must be at least 1"
        )
    result, features = open_result(result, data)
    place = _place(result, folder)
    if place is not None:
        refuse_to_overwrite(place, dict.fromkeys(f"{NAME}{suffix}" for suffix in (".json", ".html", ".txt")), force)
    distilled, recipe = _set_with_steps(result)
    train = features.split("train")
    assigned = assigned_rows(distilled, train, real_rows, seed)
    _require_unit_embeddings(distilled.objective, len(distilled.modalities))
    count = min(num_steps or MAX_STEPS, recipe.num_steps)
    students = _students(distilled, recipe, result.start, train, assigned, count, seed)
    display = shown(progress)
    with _locked(result, folder is None):
        with display:
            display.start(count, "diagnose")
            of_rows = [train.ids[row] for row in assigned.tolist()]
            measured = measure_theory(students, of_rows, Streams(seed)["diagnose/power"], display.advance)
        content = TheoryContent(
            run="" if result.folder is None else result.folder.resolve().name,
            data=str(features.provenance.get("name", "data")),
            method=result.config.method,
            objective=distilled.objective.title,
            spectral=isinstance(distilled.objective, Hopa),
            tau=students.tau,
            modalities=distilled.modalities,
            rows=len(distilled),
            batch_size=recipe.batch_size,
            recipe_steps=recipe.num_steps,
            real_rows=real_rows,
            seed=seed,
            steps=measured.steps,
            bounds=measured.bounds,
            instances=measured.instances,
            excitation=measured.excitation,
            versions=versions(),
            command=command,
        )
        diagnosis = Diagnosis(content)
        return diagnosis if place is None else diagnosis.save(place, force=force)


def _locked(result: DistillResult, writes: bool) -> AbstractContextManager[None]:
    """Return a context manager that locks the run folder, if the run has one.

    Args:
        result: the run.
        writes: whether the diagnosis is written to the run folder. If False, a read-only run folder is not locked.
    """
    if result.folder is None:
        return nullcontext()
    return exclusive(result.folder) if writes else unchanged(result.folder)


def _place(result: DistillResult, folder: str | Path | None) -> Path | None:
    if folder is not None:
        return Path(folder)
    return None if result.folder is None else result.folder / NAME


def _set_with_steps(result: DistillResult) -> tuple[DistilledSet, Sgd]:
    """Return the set of a run and its recipe.

    Raises:
        InputError: the run has several sets, or the recipe does not consist of plain SGD steps.
    """
    where = str(result.folder or "result")
    if len(result.sets) > 1:
        raise InputError(
            f"{where}: this run has {len(result.sets)} synthetic sets, one per pair of modalities, but only one can be "
            "diagnosed; diagnose one of the runs in its folder pairs/"
        )
    recipe = result.set.recipe
    if not isinstance(recipe, Sgd) or not recipe.num_steps:
        raise InputError(
            f"{where}: the synthetic set has the training recipe '{recipe.kind}' with {recipe.num_steps} steps, but "
            "only SGD with at least one step can be diagnosed; use a set with the recipe 'sgd', such as those of the "
            "presets hopa and lors"
        )
    if recipe.momentum or recipe.weight_decay:
        raise InputError(
            f"{where}: the training recipe has momentum {recipe.momentum:g} and weight decay {recipe.weight_decay:g}, "
            "but the theory is about plain SGD; diagnose a set whose students are trained without them"
        )
    return result.set, recipe


def _require_unit_embeddings(objective: Objective, num_modalities: int) -> None:
    """Raise InputError if the objective depends on the norms of the outputs."""
    draw = Streams(0)["diagnose/norms"]
    outputs = torch.randn(num_modalities, 3, 4, dtype=torch.float64, generator=draw, device="cpu")
    targets = torch.eye(3, dtype=torch.float64, device="cpu")
    values = objective.value(outputs, targets), objective.embedding_loss(normalise(outputs)[0], targets)
    if not torch.allclose(*values, rtol=1e-9):
        raise InputError(
            f"objective '{objective.kind}': depends on the norms of the head outputs, but the theory assumes "
            "normalised embeddings; diagnose a set with another objective"
        )


def _students(
    distilled: DistilledSet,
    recipe: Sgd,
    start: Heads,
    train: FeatureSet,
    assigned: Int[Tensor, " N"],
    num_steps: int,
    seed: int,
) -> PairedStudents:
    """Return two students: one trains on the set, the other on one training row for each synthetic row.

    `assigned` contains the row numbers of these training rows. The target similarity of two training rows is 1 if they
    belong to the same group, otherwise 0.
    """
    codes = train.group_codes.cpu()[assigned]
    synthetic, objective = distilled.rows(), distilled.objective
    sizes = torch.tensor(recipe.step_sizes, dtype=torch.float64, device="cpu").repeat(num_steps, 1)
    if recipe.decay_after is not None:
        sizes[recipe.decay_after :] /= 10
    return PairedStudents(
        objective,
        {name: start[name].cpu().double() for name in distilled.modalities},
        Rows({name: x.double() for name, x in synthetic.items()}, lambda rows: distilled.targets(rows).double()),
        Rows(
            {name: train.features[name].cpu()[assigned].double() for name in distilled.modalities},
            lambda rows: shared_groups(codes[rows]).double(),
        ),
        recipe.batches(len(distilled), seed)[:num_steps],
        sizes,
        objective.tau_mod if isinstance(objective, Hopa) else Hopa().tau_mod,
    )
