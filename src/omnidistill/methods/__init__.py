"""Methods: how a set is made, each a short composition of parts.

    trajectory   rows learned by matching experts (HoPA, LoRS, RepBlend, MTT, TESLA, shortcut trajectories ...)
    select       real rows, or averages of real rows (coresets, prototypes)
    covmatch     rows with the cross-covariances of the data, in closed form
    task         rows learned by the loss of the trained student on real rows (ours)
    apm          rows on which least squares finds the analytic projectors of the data, in closed form

A published method is a preset: a file that names one of these and its parts. Adding one adds a file to presets/.
"""

from omnidistill.methods.apm import match_parameters
from omnidistill.methods.coreset import choose_rows
from omnidistill.methods.covmatch import match_covariances
from omnidistill.methods.task import Method, Task
from omnidistill.methods.task_loss import match_task
from omnidistill.methods.trajectory import match_trajectories

__all__ = [
    "METHODS",
    "Method",
    "Task",
    "choose_rows",
    "match_covariances",
    "match_parameters",
    "match_task",
    "match_trajectories",
]

METHODS: dict[str, Method] = {
    "trajectory": match_trajectories,
    "select": choose_rows,
    "covmatch": match_covariances,
    "apm": match_parameters,
    "task": match_task,
}
"""Every method by the `kind` of its settings."""
