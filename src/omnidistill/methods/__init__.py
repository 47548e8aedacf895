"""Methods: how a set is made, one file each; `methods` lists them by name.

    learn        rows learned by the outer loop (HoPA, LoRS, RepBlend, MTT, TESLA, shortcut trajectories, task loss ...)
    select       real rows, or averages of real rows (coresets, prototypes)
    covmatch     rows with the cross-covariances of the data, in closed form
    apm          rows on which least squares finds the analytic projectors of the data, in closed form

A published method is a preset: a file that names one of these and its components. Adding one adds a file to presets/.
"""

from omnidistill.methods.method import AnyMethod, Method, methods
from omnidistill.methods.task import Task

# `omnidistill.methods` is this package and the namespace of methods: the functions of the registry are its own.
get, names, list, register = methods.get, methods.names, methods.list, methods.register

__all__ = ["AnyMethod", "Method", "Task", "get", "list", "methods", "names", "register"]
