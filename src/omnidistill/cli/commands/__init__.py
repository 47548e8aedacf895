"""The commands of the command line, one module per command.

Every module has two public functions. `add` declares the command with its options, examples and help. `run` calls the
library and prints the result. Modules import torch and pydantic only inside `run`, so that help is fast.
"""
