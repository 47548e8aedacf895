"""Where triplets come from: the bundled emoji set, planted synthetic data, and the raw form both share."""
