"""Objectives: losses that compare head outputs with target similarities. `objectives` lists all of them by name."""

from omnidistill.models.objectives.hopa import Hopa
from omnidistill.models.objectives.infonce import InfoNCE
from omnidistill.models.objectives.objective import AnyObjective, Objective, objectives
from omnidistill.models.objectives.pairwise import PairwiseWbce

__all__ = ["AnyObjective", "Hopa", "InfoNCE", "Objective", "PairwiseWbce", "objectives"]
