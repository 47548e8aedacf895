"""Manifests: the table of what to encode, made from folders and known data sets, checked before hours are spent."""
