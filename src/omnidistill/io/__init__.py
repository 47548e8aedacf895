"""Input and output: artifacts on disk, metrics logs, and the trackers that mirror the logs."""
