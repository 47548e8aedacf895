"""What every package may use: errors, optional imports, random streams, threads, memory, execution engines."""
