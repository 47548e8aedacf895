"""Feature sets: what they are, where they come from, how they are prepared, packed and stored.

A `FeatureSet` is the one currency of the library: {modality: N x p_m} with ids, groups and splits.
"""
