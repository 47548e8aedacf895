"""The distilled set that the outer loop builds from its learned tensors.

The storage rounds the learned rows. The recipe "sgd" of the set contains the learned step sizes, momentum and weight
decay. It trains models in the same way as the outer loop trains students.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from omnidistill.core.device import moved
from omnidistill.distillation.distilled_set import DistilledSet
from omnidistill.distillation.learner import Learner
from omnidistill.distillation.provenance import Provenance
from omnidistill.distillation.set_spec import SetSpec
from omnidistill.distillation.set_tensors import as_stored
from omnidistill.distillation.student_sgd import StudentSgd
from omnidistill.training.recipes import Sgd


def learned_set(
    learner: Learner, tensors: Mapping[str, Tensor], num_steps: int, seed: int, provenance: Provenance
) -> DistilledSet:
    """Return the distilled set for learned tensors. The tensors are copied to the CPU.

    Args:
        learner: the learner of the tensors. Its settings and initial rows determine the specification of the set.
        tensors: rows, similarity and settings of the student's SGD, as `Learnable.result` returns them.
        num_steps: number of training steps in the recipe of the set.
        seed: seed of the mini-batches in the recipe; used only if the settings fix the order of the mini-batches.
        provenance: the provenance of the set.
    """
    settings = learner.settings
    copies = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    sgd = StudentSgd.from_leaves({name: copies.pop(name) for name in learner.learnable.sgd}, settings.step_size_space)
    spec = SetSpec(
        {name: matrix.shape[1] for name, matrix in learner.initial.features.items()},
        settings.num_stored,
        learner.storage,
        settings.similarity,
        settings.student,
        Sgd(
            step_sizes=tuple(sgd.step_sizes.tolist()),
            momentum=float(sgd.momentum),
            weight_decay=float(sgd.weight_decay),
            num_steps=num_steps,
            batch_size=settings.batch,
            order=seed if settings.order == "fixed" else None,
        ),
    )
    stored = moved(as_stored(learner.storage, copies), "cpu")
    return DistilledSet(stored, spec, learner.initial.preprocessing, provenance)
