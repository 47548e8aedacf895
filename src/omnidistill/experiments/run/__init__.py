"""Runs: the stages that produce heads, experts and the distilled set, in memory or in a run folder."""

from omnidistill.distillation.matching_loss import matching_loss
from omnidistill.experiments.run.distill_run import distill, load_initial_set
from omnidistill.experiments.run.distill_stages import ExpertSource
from omnidistill.experiments.run.expert_stage import load_or_train_experts, train_experts
from omnidistill.experiments.run.result import STAGES, DistillResult, pair_folder
from omnidistill.experiments.run.run_folder import Run, open_or_create_run, open_run
from omnidistill.experiments.run.run_identity import heads_fingerprint, versions
from omnidistill.experiments.run.run_lock import runs_on, runs_unchanged
from omnidistill.experiments.run.start_heads import InitialHeads, given_heads, load_or_create_heads, pretrain_heads

__all__ = [
    "STAGES",
    "DistillResult",
    "ExpertSource",
    "InitialHeads",
    "Run",
    "distill",
    "given_heads",
    "heads_fingerprint",
    "load_initial_set",
    "load_or_create_heads",
    "load_or_train_experts",
    "matching_loss",
    "open_or_create_run",
    "open_run",
    "pair_folder",
    "pretrain_heads",
    "runs_on",
    "runs_unchanged",
    "train_experts",
    "versions",
]
