"""Trials that are too long for the tests: run them with `make torture`."""
