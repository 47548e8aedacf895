"""Projection heads, losses (objectives), target similarities, and storage formats of synthetic rows."""
