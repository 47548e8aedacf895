"""The argument parser. It prints help in groups with examples, and one-line errors that suggest the closest known word.

The help of a command lists its main options first: options that are required, have a one-letter form, or are declared
as main options by the command. The help of the program lists the commands by heading.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from omnidistill.core.errors import nearest
from omnidistill.core.printable import printable

_REPLACEMENTS = {
    "the following arguments are required": "missing",
    "invalid int value": "not a whole number",
    "argument -": "-",
}
"""{phrase in argparse's messages: its replacement}."""


_OTHER_NAMES = {
    "--rows": ("--size", "--table"),
    "--metadata": ("--table",),
    "--csv": ("--table",),
    "--delimiter": ("--separator",),
    "--sep": ("--separator",),
    "--model": ("--encoder",),
    "--gpu": ("--device",),
}
"""{option that a user may expect: options of commands that do the same, although their names differ}."""

LESS_MEMORY = "end other programs, or use a machine with more memory"
"""What to do if memory runs out, for commands without options that reduce it."""


class HelpFormatter(argparse.HelpFormatter):
    """Wrap lines to the width of the terminal, except lines that start with a space, such as examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = text.strip("\n").splitlines()
        return "\n".join(line if line[:1].isspace() else textwrap.fill(line, max(width, 11)) for line in lines)


class Parser(argparse.ArgumentParser):
    """A parser that groups the options in its help. On an error, it prints one line and exits with code 2."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{"formatter_class": HelpFormatter, "allow_abbrev": False, **settings})
        self.main_options: tuple[str, ...] = ()
        self.examples: tuple[str, ...] = ()
        self.command_groups: list[CommandGroup] = []

    def actions(self) -> list[argparse.Action]:
        """Return all arguments and options that help shows, in the order in which the command added them."""
        return [action for action in self._actions if action.help != argparse.SUPPRESS]

    def error(self, message: str) -> NoReturn:
        """Print the message as one line, and exit with code 2."""
        for phrase, replacement in _REPLACEMENTS.items():
            message = message.replace(phrase, replacement)
        if message.startswith("missing: "):
            for action in (action for action in self._actions if action.required and action.option_strings):
                message = message.replace("/".join(action.option_strings), _option(action))
        line = f"omnidistill: {message}{' See' if message.endswith('?') else '; see'} '{self.prog} --help'"
        self.exit(2, f"{printable(' '.join(line.split()))}\n")

    def reject(self, extra: Sequence[str]) -> NoReturn:
        """Report the first word in `extra` as unknown to this command, and exit with code 2."""
        word = extra[0].partition("=")[0]
        if not word.startswith("-"):
            self.error(f"unexpected argument '{word}'")
        self.error(f"unknown option '{word}'{_suggestion(word, _flags(self.actions()))}")

    def format_usage(self) -> str:
        """Return the usage line: required arguments and options, then a placeholder for all other options."""
        required = [_argument(action) for action in self.actions() if not action.option_strings]
        required += [_option(action) for action in self.actions() if action.required and action.option_strings]
        if self.command_groups:
            required = ["COMMAND ..."]
        return f"usage: {' '.join([self.prog, *required])} [options]\n"

    def format_help(self) -> str:
        """Return the complete help: usage, description, arguments and options in groups, and examples."""
        formatter = self._get_formatter()
        formatter.add_text(self.description)
        for group in self.command_groups:
            formatter.start_section(group.heading)
            formatter.add_arguments(group.as_actions())
            formatter.end_section()
        for title, actions in self._option_groups():
            formatter.start_section(title)
            formatter.add_arguments(actions)
            formatter.end_section()
        formatter.add_text(self.epilog)
        return f"{self.format_usage()}\n{formatter.format_help()}"

    def _option_groups(self) -> Iterable[tuple[str, list[argparse.Action]]]:
        shown = [action for action in self.actions() if not isinstance(action, argparse._SubParsersAction)]
        options = [action for action in shown if action.option_strings]
        main = sorted((action for action in options if self._is_main(action)), key=self._position)
        yield "arguments", [action for action in shown if not action.option_strings]
        yield "main options", main
        yield "other options" if main else "options", [action for action in options if action not in main]

    def _is_main(self, action: argparse.Action) -> bool:
        short = any(len(flag) == 2 for flag in action.option_strings) and "--help" not in action.option_strings
        return action.required or short or self._position(action) >= 0

    def _position(self, action: argparse.Action) -> int:
        """Return the position of an option among the declared main options; -1 if it is not one of them."""
        return max(self.main_options.index(flag) if flag in self.main_options else -1 for flag in action.option_strings)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(each) for each in action.choices]
        kind = "command" if isinstance(action, argparse._SubParsersAction) else "value"
        hint = nearest(str(value), known) or f"; choose from {', '.join(known)}"
        raise argparse.ArgumentError(None if kind == "command" else action, f"unknown {kind} '{value}'{hint}")


class CommandGroup:
    """All commands that the program's help lists under one heading.

    Args:
        heading: Text of the heading.
        subparsers: The result of `ArgumentParser.add_subparsers`; all groups of a program share it.
    """

    def __init__(self, heading: str, subparsers: Any) -> None:
        self.heading: str = heading
        self._subparsers = subparsers
        self.parsers: dict[str, Parser] = {}
        self.summaries: dict[str, str] = {}

    def add_command(
        self,
        name: str,
        run: Callable[[argparse.Namespace], int | None],
        summary: str,
        *,
        description: str = "",
        main_options: tuple[str, ...] = (),
        examples: tuple[str, ...] = (),
        notes: str = "",
        needs_torch: bool = True,
        less_memory: str = LESS_MEMORY,
    ) -> Parser:
        """Add a command and return its parser.

        Args:
            name: The name of the command.
            run: The function that the command calls. It may return an exit code.
            summary: One line for the program's help that says what the command does.
            description: The first paragraph of the command's help (default: the summary).
            main_options: Options that the command's help lists first, in addition to options that are required or have
                a one-letter form.
            examples: Example commands that a user can type.
            notes: Text that the command's help shows below the options.
            needs_torch: Whether torch is imported before the command runs.
            less_memory: What the user can do if memory runs out.
        """
        parser: Parser = self._subparsers.add_parser(
            name,
            description=description or summary,
            epilog="\n\n".join(filter(None, [notes, _example_section(examples)])),
        )
        parser.main_options, parser.examples = main_options, examples
        parser.set_defaults(command=run, parser=parser, needs_torch=needs_torch, less_memory=less_memory)
        self.parsers[name], self.summaries[name] = parser, summary
        return parser

    def as_actions(self) -> list[argparse.Action]:
        """Return the commands as argparse actions, so that argparse can format their help."""
        return [argparse.Action([], "", metavar=name, help=text) for name, text in self.summaries.items()]


def _example_section(examples: Iterable[str]) -> str:
    lines = [f"  {example}" for example in examples]
    return "\n".join(["examples:", *lines]) if lines else ""


def _argument(action: argparse.Action) -> str:
    name = str(action.metavar or action.dest.upper())
    return {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} ..."}.get(str(action.nargs), name)


def _option(action: argparse.Action) -> str:
    return f"{action.option_strings[0]} {action.metavar}"


def _suggestion(word: str, flags: Sequence[str]) -> str:
    """Return "; did you mean '--x'?" for an unknown option, or "" if no option has a similar name or meaning."""
    for flag in _OTHER_NAMES.get(word, ()):
        if flag in flags:
            return f"; did you mean '{flag}'?"
    return nearest(word.lstrip("-"), [flag[2:] for flag in flags if flag.startswith("--")], prefix="--")


def _flags(actions: Iterable[argparse.Action]) -> list[str]:
    return [flag for action in actions for flag in action.option_strings]
