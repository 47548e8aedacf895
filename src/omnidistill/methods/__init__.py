"""Methods that produce a set, one file each; `methods` lists them by name.

    learn        rows learned by the outer loop (HoPA, LoRS, RepBlend, MTT, TESLA, shortcut trajectories, task loss ...)
    select       real rows, or averages of real rows (coresets, prototypes)
    covmatch     rows with the cross-covariances of the data, in closed form
    apm          rows on which least squares finds the analytic projectors of the data, in closed form

A published method is a preset: a file in presets/ that names one of these methods and its components.
"""

from omnidistill.methods.method import AnyMethod, Method, methods
from omnidistill.methods.task import Task

# `omnidistill.methods` is also the public namespace of methods, so it exports the functions of the registry.
get, names, list, register = methods.get, methods.names, methods.list, methods.register

__all__ = ["AnyMethod", "Method", "Task", "get", "list", "methods", "names", "register"]
