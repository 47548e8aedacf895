"""argparse in this program's manner: help in groups with examples, errors of one line that name the nearest right word.

A verb's help shows its main options first: those that are required, that have a letter of their own, or that
`help_texts` names. The program's help lists the verbs by theme.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from omnidistill.cli.help_texts import EXAMPLES, MAIN
from omnidistill.core.errors import nearest

_SAID = {
    "the following arguments are required": "missing",
    "invalid int value": "not a whole number",
    "argument -": "-",
}
"""What argparse says, and what is said instead."""


class HelpFormatter(argparse.HelpFormatter):
    """Each line of a text fits the terminal; one that begins with a space, a command, stays as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = text.strip("\n").splitlines()
        return "\n".join(line if line[:1].isspace() else textwrap.fill(line, max(width, 11)) for line in lines)


class Parser(argparse.ArgumentParser):
    """A parser whose help is grouped, and whose errors are one line, exit code 2."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{"formatter_class": HelpFormatter, "allow_abbrev": False, **settings})
        self.main: tuple[str, ...] = ()
        self.themes: list[Theme] = []

    def actions(self) -> list[argparse.Action]:
        """Every argument and option that is shown, in the order in which they were added."""
        return [action for action in self._actions if action.help != argparse.SUPPRESS]

    def error(self, message: str) -> NoReturn:
        """One line, exit code 2."""
        for typed, said in _SAID.items():
            message = message.replace(typed, said)
        self.exit(2, f"omnidistill: {message}{' See' if message.endswith('?') else '; see'} '{self.prog} --help'\n")

    def refuse(self, extra: Sequence[str]) -> NoReturn:
        """The error for what is neither an option nor an argument of this verb."""
        word = extra[0].partition("=")[0]
        if not word.startswith("-"):
            self.error(f"unexpected argument '{word}'")
        self.error(f"unknown option '{word}'{nearest(word, _flags(self.actions()))}")

    def format_usage(self) -> str:
        """What must be given, and that there are options."""
        needed = [_argument(action) for action in self.actions() if not action.option_strings]
        needed += [f"{action.option_strings[0]} {action.metavar}" for action in self.actions() if action.required
                   and action.option_strings]  # fmt: skip
        if self.themes:
            needed = ["VERB ..."]
        return f"usage: {' '.join([self.prog, *needed])} [options]\n"

    def format_help(self) -> str:
        """Usage, what it is, arguments and options by group, examples."""
        formatter = self._get_formatter()
        formatter.add_text(self.description)
        for theme in self.themes:
            formatter.start_section(theme.title)
            formatter.add_arguments(theme.listed())
            formatter.end_section()
        for title, actions in self._groups():
            formatter.start_section(title)
            formatter.add_arguments(actions)
            formatter.end_section()
        formatter.add_text(self.epilog)
        return f"{self.format_usage()}\n{formatter.format_help()}"

    def _groups(self) -> Iterable[tuple[str, list[argparse.Action]]]:
        shown = [action for action in self.actions() if not isinstance(action, argparse._SubParsersAction)]
        options = [action for action in shown if action.option_strings]
        main = sorted((action for action in options if self._is_main(action)), key=self._place)
        yield "arguments", [action for action in shown if not action.option_strings]
        yield "main options", main
        yield "other options" if main else "options", [action for action in options if action not in main]

    def _is_main(self, action: argparse.Action) -> bool:
        short = any(len(flag) == 2 for flag in action.option_strings) and "--help" not in action.option_strings
        return action.required or short or self._place(action) >= 0

    def _place(self, action: argparse.Action) -> int:
        """Where it stands among those that the verb names; -1 for others."""
        return max(self.main.index(flag) if flag in self.main else -1 for flag in action.option_strings)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(each) for each in action.choices]
        what = "verb" if isinstance(action, argparse._SubParsersAction) else "value"
        hint = nearest(str(value), known) or f"; known are {', '.join(known)}"
        raise argparse.ArgumentError(None if what == "verb" else action, f"unknown {what} '{value}'{hint}")


class Theme:
    """Verbs that are listed together. What adds a verb is given this in the place of argparse's subparsers."""

    def __init__(self, title: str, added: Any) -> None:
        self.title, self._added = title, added
        self.parsers: dict[str, Parser] = {}
        self._lines: dict[str, str] = {}

    def add_parser(self, name: str, *, help: str, **settings: Any) -> Parser:
        """A verb, with its examples and main options."""
        epilog = [settings.pop("epilog", None), examples(EXAMPLES.get(name, ()))]
        settings = {"description": help, **settings, "epilog": "\n\n".join(filter(None, epilog))}
        parser: Parser = self._added.add_parser(name, **settings)
        parser.main = MAIN.get(name, ())
        parser.set_defaults(parser=parser)
        self.parsers[name], self._lines[name] = parser, help
        return parser

    def lines(self) -> dict[str, str]:
        """What each verb does, in a line."""
        return self._lines

    def listed(self) -> list[argparse.Action]:
        """The verbs as help shows them."""
        return [argparse.Action([], "", metavar=name, help=text) for name, text in self._lines.items()]


def examples(commands: Iterable[str]) -> str:
    """A section of help."""
    lines = [f"  {command}" for command in commands]
    return "\n".join(["examples:", *lines]) if lines else ""


def _argument(action: argparse.Action) -> str:
    name = str(action.metavar or action.dest.upper())
    return {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} ..."}.get(str(action.nargs), name)


def _flags(actions: Iterable[argparse.Action]) -> list[str]:
    return [flag for action in actions for flag in action.option_strings]
