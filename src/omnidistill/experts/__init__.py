"""Experts: heads trained on all the real rows, and their trajectories on disk."""

from omnidistill.experts.buffer import ExpertBuffer, load_experts, train_experts
from omnidistill.experts.pretrain import pretrain_heads
from omnidistill.experts.starts import Start
from omnidistill.experts.train import stack_runs, train_epochs

__all__ = ["ExpertBuffer", "Start", "load_experts", "pretrain_heads", "stack_runs", "train_epochs", "train_experts"]
