"""Decode media files to tensors: frames, waveforms and pictures. No other package decodes media."""
