"""Runs: a run folder, and the stages that produce heads, experts and the distilled set in it."""

from omnidistill.data.fingerprint import fingerprint
from omnidistill.experiments.run.distill_run import ExpertCache, load_initial_set, run_distill
from omnidistill.experiments.run.expert_stage import make_experts, run_experts
from omnidistill.experiments.run.run_folder import (
    EMOJI,
    STAGES,
    Run,
    begin_run,
    heads_fingerprint,
    open_data,
    open_run,
    pair_folder,
    versions,
)
from omnidistill.experiments.run.start_heads import make_heads

__all__ = [
    "EMOJI",
    "STAGES",
    "ExpertCache",
    "Run",
    "begin_run",
    "fingerprint",
    "heads_fingerprint",
    "load_initial_set",
    "make_experts",
    "make_heads",
    "open_data",
    "open_run",
    "pair_folder",
    "run_distill",
    "run_experts",
    "versions",
]
