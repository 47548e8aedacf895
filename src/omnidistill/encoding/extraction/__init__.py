"""From a table of items to features: every item through frozen encoders, in shards that a killed run keeps."""

from omnidistill.encoding.extraction.encode import Encoded, encode, is_begun
from omnidistill.encoding.extraction.estimate import Estimate, estimate
from omnidistill.encoding.extraction.join import check_set, join, save_encoded
from omnidistill.encoding.extraction.settings import EncodeSettings

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
