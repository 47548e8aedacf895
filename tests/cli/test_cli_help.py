"""Help: one line a verb, options by group, examples that can be typed, at any width."""

from __future__ import annotations

import shlex

import pytest

from omnidistill.cli import make_parser
from omnidistill.cli.help_texts import EXAMPLES, MAIN
from small_runs import cli

VERBS = {name: parser for theme in make_parser().themes for name, parser in theme.parsers.items()}


def test_the_program_lists_each_verb_in_a_line_of_eighty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = cli("--help").out.splitlines()
    assert max(map(len, lines)) <= 80
    for name in VERBS:
        (line,) = (each for each in lines if each.startswith(f"  {name} "))
        assert len(line.split()) > 3
    for title in ("begin:", "data:", "make a set:", "judge it:", "share it:", "look:", "examples:", "exit codes:"):
        assert title in lines


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_groups_and_examples(verb: str) -> None:
    text = cli(verb, "--help").out
    assert text.startswith(f"usage: omnidistill {verb}")
    assert "\nexamples:\n" in text
    assert "options:\n" in text
    for action in VERBS[verb].actions():
        assert action.help, (verb, action.dest)
    if verb in MAIN:
        main, _, other = text.partition("other options:")
        assert all(f"{flag}" in main.partition("main options:")[2] for flag in MAIN[verb])
        assert "--help" in other


@pytest.mark.parametrize("verb", VERBS)
def test_every_example_can_be_typed(verb: str) -> None:
    assert EXAMPLES[verb]
    for example in EXAMPLES[verb]:
        words = shlex.split(example.partition(" > ")[0].removeprefix('eval "$(').removesuffix(')"'))
        assert words[:2] == ["omnidistill", verb]
        parsed, extra = make_parser().parse_known_args(words[1:])
        assert (extra, callable(parsed.verb)) == ([], True)


@pytest.mark.parametrize("columns", ["20", "40", "200"])
def test_any_width_will_do(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for words in (("--help",), ("encode", "--help")):
        outcome = cli(*words)
        assert (outcome.code, outcome.err) == (0, "")


def test_every_verb_that_reports_prints_json() -> None:
    without = [name for name, parser in VERBS.items() if all(each.dest != "json" for each in parser.actions())]
    assert without == ["completion"]


def test_without_a_verb_help_is_told_and_the_code_is_two() -> None:
    outcome = cli()
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == make_parser().format_help()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--hlep",), "unknown option '--hlep'; did you mean '--help'? See 'omnidistill --help'"),
        (("distil",), "unknown verb 'distil'; did you mean 'distill'? See 'omnidistill --help'"),
        (("inspect",), "missing: PATH; see 'omnidistill inspect --help'"),
        (
            ("evaluate", "RUN", "--seeds", "many"),
            "--seeds: not a whole number: 'many'; see 'omnidistill evaluate --help'",
        ),
    ],
)
def test_what_was_typed_wrong_is_one_plain_line(words: tuple[str, ...], told: str) -> None:
    outcome = cli(*words)
    assert (outcome.code, outcome.out, outcome.err) == (2, "", f"omnidistill: {told}\n")
