"""Storages: they define how synthetic rows are learned and stored. `storages` lists them by name."""

from omnidistill.models.storages.forms import Bits, Half, Plain, RowForm, Views
from omnidistill.models.storages.rows import RowStorage
from omnidistill.models.storages.storage import AnyStorage, Storage, storages

__all__ = ["AnyStorage", "Bits", "Half", "Plain", "RowForm", "RowStorage", "Storage", "Views", "storages"]
