"""The command line. Heavy packages are imported only when a command needs them, so that help is fast.

`main` runs the program; `command_list` lists all commands and builds the parser; `commands` has one module per command;
`parser`, `options` and `output` are shared by the commands; `completion_scripts` writes completion scripts for shells.

The package itself imports nothing, to avoid import cycles with its commands. Import from its modules instead.
"""
