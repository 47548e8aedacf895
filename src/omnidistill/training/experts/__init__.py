"""Experts: heads trained on all real rows, and their trajectories on disk."""

from omnidistill.training.experts.buffer import ExpertBuffer, load_experts
from omnidistill.training.experts.epochs import stack_runs, train_epochs
from omnidistill.training.experts.expert_training import train_experts
from omnidistill.training.experts.experts_config import ExpertsConfig
from omnidistill.training.experts.pretrain import HeadsConfig, pretrain_heads
from omnidistill.training.experts.starts import Start

__all__ = [
    "ExpertBuffer",
    "ExpertsConfig",
    "HeadsConfig",
    "Start",
    "load_experts",
    "pretrain_heads",
    "stack_runs",
    "train_epochs",
    "train_experts",
]
