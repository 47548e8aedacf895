"""From media files to features: decoding, manifests, frozen encoders, and feature extraction."""
