"""Evaluation: exact retrieval ranks, bootstrap intervals, choices on validation, baselines, and the protocol."""
