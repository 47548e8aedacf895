"""From a table of items to features: every item through frozen encoders, in shards that a killed run keeps."""

from omnidistill.extraction.encoding import Encoded, encode, is_begun
from omnidistill.extraction.estimate import Estimate, estimate
from omnidistill.extraction.joining import check_set, join, save_encoded
from omnidistill.extraction.rows import EncodeSettings

__all__ = [
    "EncodeSettings",
    "Encoded",
    "Estimate",
    "check_set",
    "encode",
    "estimate",
    "is_begun",
    "join",
    "save_encoded",
]
