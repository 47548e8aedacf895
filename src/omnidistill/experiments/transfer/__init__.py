"""Transfer: use a distilled set with an encoder other than the one it was distilled with, and compare ways to do so."""

from omnidistill.experiments.transfer.run_transfer import transfer
from omnidistill.experiments.transfer.transfer_result import Transfer
from omnidistill.experiments.transfer.transfer_settings import TransferSettings

__all__ = ["Transfer", "TransferSettings", "transfer"]
