"""Example of a plug-in for omnidistill: an objective, a method and a baseline, one file each."""
