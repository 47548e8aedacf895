"""Manifests: tables of items to encode, which are built from a folder or a benchmark and checked before encoding."""
