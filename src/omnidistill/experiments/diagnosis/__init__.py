"""Diagnosis of a run: the theory of HoPA measured along a student's steps."""

from omnidistill.experiments.diagnosis.diagnose import diagnose
from omnidistill.experiments.diagnosis.diagnosis_result import Diagnosis

__all__ = ["Diagnosis", "diagnose"]
