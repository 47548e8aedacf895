"""Decode media files into tensors: video frames, waveforms and pictures. No other package decodes media."""
