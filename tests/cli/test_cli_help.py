"""Help: one line per command, options by group, examples that can be typed, at any width."""

from __future__ import annotations

import shlex

import pytest

from omnidistill.cli.command_list import make_parser
from small_runs import cli

COMMANDS = {name: parser for group in make_parser().command_groups for name, parser in group.parsers.items()}


def test_the_program_lists_each_command_in_a_line_of_eighty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = cli("--help").out.splitlines()
    assert max(map(len, lines)) <= 80
    for name in COMMANDS:
        (line,) = (each for each in lines if each.startswith(f"  {name} "))
        assert len(line.split()) > 3
    for heading in ("getting started:", "data:", "distillation:", "evaluation:", "examples:", "exit codes:"):
        assert heading in lines


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_groups_and_examples(command: str) -> None:
    text = cli(command, "--help").out
    assert text.startswith(f"usage: omnidistill {command}")
    assert "\nexamples:\n" in text
    assert "options:\n" in text
    for action in COMMANDS[command].actions():
        assert action.help, (command, action.dest)
    if main_options := COMMANDS[command].main_options:
        main, _, other = text.partition("other options:")
        assert all(flag in main.partition("main options:")[2] for flag in main_options)
        assert "--help" in other


@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_can_be_typed(command: str) -> None:
    assert COMMANDS[command].examples
    for example in COMMANDS[command].examples:
        words = shlex.split(example.partition(" > ")[0].removeprefix('eval "$(').removesuffix(')"'))
        assert words[:2] == ["omnidistill", command]
        parsed, extra = make_parser().parse_known_args(words[1:])
        assert (extra, callable(parsed.command)) == ([], True)


@pytest.mark.parametrize("columns", ["20", "40", "200"])
def test_help_at_any_width(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for words in (("--help",), ("encode", "--help")):
        outcome = cli(*words)
        assert (outcome.code, outcome.err) == (0, "")


def test_every_command_with_a_result_prints_json() -> None:
    without = [name for name, parser in COMMANDS.items() if all(each.dest != "json" for each in parser.actions())]
    assert without == ["completion"]


def test_without_a_command_help_is_printed_with_exit_code_two() -> None:
    outcome = cli()
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == make_parser().format_help()


def _unknown(command: str, option: str, suggestion: str) -> str:
    return f"unknown option '{option}'{suggestion} 'omnidistill {command} --help'"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--hlep",), "unknown option '--hlep'; did you mean '--help'? See 'omnidistill --help'"),
        (("distill", "SET", "-o", "RUN", "--rows", "9"), _unknown("distill", "--rows", "; did you mean '--size'? See")),
        (("pack", "F", "-o", "SET", "--rows=r.csv"), _unknown("pack", "--rows", "; did you mean '--table'? See")),
        (("heads", "SET", "-o", "H", "--size", "9"), _unknown("heads", "--size", "; see")),
        (("distil",), "unknown command 'distil'; did you mean 'distill'? See 'omnidistill --help'"),
        (("inspect",), "missing: PATH; see 'omnidistill inspect --help'"),
        (("distill", "SET"), "missing: -o RUN; see 'omnidistill distill --help'"),
        (
            ("evaluate", "RUN", "--seeds", "many"),
            "--seeds: not a whole number: 'many'; see 'omnidistill evaluate --help'",
        ),
    ],
)
def test_a_typing_error_is_reported_in_one_line(words: tuple[str, ...], message: str) -> None:
    outcome = cli(*words)
    assert (outcome.code, outcome.out, outcome.err) == (2, "", f"omnidistill: {message}\n")
