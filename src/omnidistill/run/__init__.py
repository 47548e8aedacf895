"""Runs: a folder, the stages that fill it, and the set that it ends with."""

from omnidistill.run.folder import (
    EMOJI,
    STAGES,
    Run,
    begin_run,
    fingerprint,
    heads_fingerprint,
    open_data,
    open_run,
    pair_folder,
    versions,
)
from omnidistill.run.making import Shelf, load_begun, run_distill
from omnidistill.run.stages import make_experts, run_experts
from omnidistill.run.starts import make_heads

__all__ = [
    "EMOJI",
    "STAGES",
    "Run",
    "Shelf",
    "begin_run",
    "fingerprint",
    "heads_fingerprint",
    "load_begun",
    "make_experts",
    "make_heads",
    "open_data",
    "open_run",
    "pair_folder",
    "run_distill",
    "run_experts",
    "versions",
]
