"""Scoring: exact retrieval ranks, intervals by the bootstrap, and the protocol that uses both."""
