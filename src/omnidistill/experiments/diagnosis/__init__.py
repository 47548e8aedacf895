"""Diagnosis of a run: compare the theory of HoPA with measurements at every step of a student."""

from omnidistill.experiments.diagnosis.diagnose import diagnose
from omnidistill.experiments.diagnosis.diagnosis_result import Diagnosis

__all__ = ["Diagnosis", "diagnose"]
