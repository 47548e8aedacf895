"""Feature sets: their data types, and how they are read, preprocessed, packed and stored.

All parts of the library exchange data as a `FeatureSet`: {modality: N x p_m} with ids, groups and splits.
"""
