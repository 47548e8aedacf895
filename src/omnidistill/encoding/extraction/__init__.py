"""Feature extraction: encode a table of media items with frozen encoders. Interrupted runs can be resumed."""

from omnidistill.encoding.extraction.encode import Encoded, encode, has_encoding
from omnidistill.encoding.extraction.encode_set import EncodedSet, prepare_encoding
from omnidistill.encoding.extraction.encode_settings import EncodeSettings
from omnidistill.encoding.extraction.estimate import Estimate, estimate
from omnidistill.encoding.extraction.join import check_set, join, save_encoded

__all__ = [
    "EncodeSettings",
    "Encoded",
    "EncodedSet",
    "Estimate",
    "check_set",
    "encode",
    "estimate",
    "has_encoding",
    "join",
    "prepare_encoding",
    "save_encoded",
]
