"""What can be said about a run without running it: rank floors and spectra of what is to be matched."""
