"""Complete experiments: a run folder and its stages, comparisons, dry runs, sharing and inspection of results."""
