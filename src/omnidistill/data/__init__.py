"""Feature sets: data types, sources, preprocessing, packing and storage.

All parts of the library exchange data as a `FeatureSet`: {modality: N x p_m} with ids, groups and splits.
"""
