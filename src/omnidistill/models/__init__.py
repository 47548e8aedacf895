"""Models and losses: projection heads, objectives, target similarities, and storages for synthetic rows."""
