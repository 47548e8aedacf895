"""Manifests: the table of items to encode, built from a folder or a benchmark and checked before encoding starts."""
