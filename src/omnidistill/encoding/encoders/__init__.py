"""Frozen encoders: from one item (a file or a text) to the features that projection heads are trained on."""
