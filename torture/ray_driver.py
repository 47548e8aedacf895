"""Run a command in a process of its own, with the encoders of the trials: python torture/ray_driver.py WORDS ..."""

from __future__ import annotations

import os

from omnidistill.cli.main import main
from torture.workplace import prepare_process

if __name__ == "__main__":
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    prepare_process()
    raise SystemExit(main())
