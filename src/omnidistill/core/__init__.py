"""Shared foundations: errors, settings, registries, optional imports, random streams, threads, memory and engines."""
