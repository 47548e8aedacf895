"""Evaluation: retrieval ranks, confidence intervals, choices made on the validation split, baselines and protocol."""
