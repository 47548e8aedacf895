"""Models are loaded from folders only."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
