"""Transfer: train heads of another encoder on a set that was distilled with one encoder, and compare the options."""

from omnidistill.experiments.transfer.run_transfer import transfer
from omnidistill.experiments.transfer.transfer_result import Transfer
from omnidistill.experiments.transfer.transfer_settings import TransferSettings

__all__ = ["Transfer", "TransferSettings", "transfer"]
