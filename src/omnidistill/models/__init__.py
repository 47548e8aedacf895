"""Models and losses: projection heads, objectives, target similarities, and storages of synthetic rows."""
