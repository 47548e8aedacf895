"""Media files as tensors: frames, waveforms and pictures by time. The only room that decodes what is no feature yet."""
