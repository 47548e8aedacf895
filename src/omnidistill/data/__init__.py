"""Feature sets: their data types, and how they are read, preprocessed, packed and stored.

All parts of the library exchange data as a `FeatureSet`. It has N rows with ids, groups and splits. Its features are
{modality: N x p_m}, where p_m is the width of modality m.
"""
