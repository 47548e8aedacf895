"""The one currency: feature sets, the steps that prepared them, how they are packed and stored."""
