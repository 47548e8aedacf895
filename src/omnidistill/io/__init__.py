"""Reading and writing: artifacts on disk, metrics logs and the trackers that mirror them."""
