"""The verb `completion`: a script for a shell, made from the parser itself, so it knows what the parser knows.

Completed are verbs, options, values that are one of a few, and the names of presets; anything else is a file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnidistill.cli.parsing import Parser


@dataclass(frozen=True)
class Option:
    """flags: as typed. text: its help. takes_value: whether a word follows. values: which, if they are a few."""

    flags: tuple[str, ...]
    text: str
    takes_value: bool
    values: tuple[str, ...] = ()

    @property
    def listed(self) -> bool:
        """Whether its value is a list with commas."""
        return "--methods" in self.flags


@dataclass(frozen=True)
class Verb:
    """values: of its argument, if they are a few."""

    text: str
    options: tuple[Option, ...]
    values: tuple[str, ...] = ()


def add_completion_verb(added: Any) -> None:
    """Add `completion` to the subparsers of the command line."""
    verb: argparse.ArgumentParser = added.add_parser("completion", help="print the script that completes this program")
    verb.set_defaults(verb=completion, light=True)
    verb.add_argument("shell", choices=tuple(_SCRIPTS), metavar="SHELL", help=f"one of {', '.join(_SCRIPTS)}")


def completion(options: argparse.Namespace) -> None:
    """Print the script."""
    from omnidistill.cli.arguments import make_parser

    print(script(make_parser(), options.shell), end="")


def script(parser: Parser, shell: str) -> str:
    """The script of a shell: bash, zsh or fish."""
    from omnidistill.config import describe_comparisons, preset_names

    methods, comparisons = tuple(preset_names()), tuple(describe_comparisons())
    verbs = {
        name: _verb(made, comparisons if name == "compare" else methods, methods)
        for theme in parser.themes
        for name, made in theme.parsers.items()
    }
    texts = {name: text for theme in parser.themes for name, text in theme.lines().items()}
    return _SCRIPTS[shell]({name: Verb(texts[name], *parts) for name, parts in verbs.items()})


def _verb(
    parser: Parser, presets: tuple[str, ...], methods: tuple[str, ...]
) -> tuple[tuple[Option, ...], tuple[str, ...]]:
    options, values = [], tuple[str, ...]()
    for action in parser.actions():
        known = tuple(map(str, action.choices or ()))
        if "--preset" in action.option_strings:
            known = presets
        if "--methods" in action.option_strings:
            known = methods
        text = (action.help or "").replace("%%", "%")
        if action.option_strings:
            options.append(Option(tuple(action.option_strings), text, action.nargs != 0, known))
        else:
            values = known or values
    return tuple(options), values


def _bash(verbs: dict[str, Verb]) -> str:
    valued = [
        (verb, flag, option)
        for verb, made in verbs.items()
        for option in made.options
        for flag in option.flags
        if option.takes_value
    ]
    cases = [
        f'        "{verb} {flag}") _omnidistill_words {"1" if option.listed else "0"} "{" ".join(option.values)}" ;;'
        for verb, flag, option in valued
        if option.values
    ]
    files = sorted({f'"{verb} {flag}"' for verb, flag, option in valued if not option.values})
    words = [f'        {name}) words="{" ".join(_flags(verb))}" values="{" ".join(verb.values)}" ;;'
             for name, verb in verbs.items()]  # fmt: skip
    return "\n".join(
        [
            "# bash completion of omnidistill",
            "_omnidistill_words() {  # whether a list with commas, words",
            "    local head=",
            '    [[ $1 == 1 && $cur == *,* ]] && head="${cur%,*},"',
            '    COMPREPLY=($(compgen -P "$head" -W "$2" -- "${cur#"$head"}"))',
            "}",
            "_omnidistill() {",
            '    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" verb="" words="" values=""',
            '    (( COMP_CWORD > 1 )) && verb="${COMP_WORDS[1]}"',
            "    COMPREPLY=()",
            '    case "$verb $prev" in',
            *cases,
            f"        {'|'.join(files)}) return ;;" if files else "",
            "    esac",
            "    (( ${#COMPREPLY[@]} )) && return",
            '    case "$verb" in',
            f'        "") _omnidistill_words 0 "{" ".join(verbs)} --help --version"; return ;;',
            *words,
            "    esac",
            '    if [[ $cur == -* ]]; then _omnidistill_words 0 "$words"',
            '    elif [[ -n $values ]]; then _omnidistill_words 0 "$values"',
            "    fi",
            "}",
            "complete -o default -F _omnidistill omnidistill",
            "",
        ]
    )


def _zsh(verbs: dict[str, Verb]) -> str:
    listed = [f"        '{name}:{_quoted(verb.text, ':')}'" for name, verb in verbs.items()]
    cases = []
    for name, verb in verbs.items():
        specs = [f"'{spec}'" for option in verb.options for spec in _zsh_specs(option)]
        rest = f"({' '.join(verb.values)})" if verb.values else "_files"
        cases.append(f"        {name}) _arguments {' '.join([*specs, _zsh_rest(rest)])} ;;")
    return "\n".join(
        [
            "#compdef omnidistill",
            "_omnidistill() {",
            "    local -a verbs",
            "    verbs=(",
            *listed,
            "    )",
            "    if (( CURRENT == 2 )); then _describe verb verbs; return; fi",
            "    local verb=$words[2]",
            "    shift words; (( CURRENT-- ))",
            "    case $verb in",
            *cases,
            "    esac",
            "}",
            "compdef _omnidistill omnidistill",
            "",
        ]
    )


def _zsh_specs(option: Option) -> Iterator[str]:
    for flag in option.flags:
        value = ""
        if option.takes_value:
            value = f":value:({' '.join(option.values)})" if option.values else ":value:_files"
        yield f"*{flag}[{_quoted(option.text, '[]:')}]{value}"


def _zsh_rest(values: str) -> str:
    return f"'*:argument:{values}'"


def _fish(verbs: dict[str, Verb]) -> str:
    lines = ["# fish completion of omnidistill"]
    for name, verb in verbs.items():
        lines.append(f"complete -c omnidistill -n __fish_use_subcommand -f -a {name} -d '{_quoted(verb.text)}'")
    for name, verb in verbs.items():
        begin = f"complete -c omnidistill -n '__fish_seen_subcommand_from {name}'"
        for option in verb.options:
            flags = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags)
            value = f" -x -a '{' '.join(option.values)}'" if option.values else " -r" if option.takes_value else ""
            lines.append(f"{begin} {flags}{value} -d '{_quoted(option.text)}'")
        if verb.values:
            lines.append(f"{begin} -f -a '{' '.join(verb.values)}'")
    return "\n".join([*lines, ""])


def _flags(verb: Verb) -> list[str]:
    return [flag for option in verb.options for flag in option.flags]


def _quoted(text: str, special: str = "") -> str:
    """Fit for single quotes; characters that mean something in a description are escaped."""
    for character in special:
        text = text.replace(character, f"\\{character}")
    return text.replace("'", "’")


_SCRIPTS: dict[str, Callable[[dict[str, Verb]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
