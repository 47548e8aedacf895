"""Evaluation: exact retrieval ranks, confidence intervals, choices on validation, baselines, and the protocol."""
