"""Completion scripts for shells, generated from the program's parser.

The scripts complete commands, options, option values from a fixed list, and names of presets. For everything else, the
shell completes file names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from omnidistill.cli.parser import Parser

SHELLS = ("bash", "zsh", "fish")
"""Shells that have a completion script."""


@dataclass(frozen=True)
class Option:
    """An option of a command.

    Attributes:
        flags: Forms of the option, for example ("-o", "--output").
        text: Help text of the option.
        takes_value: Whether a value must follow the option.
        values: Allowed values; empty if any value is allowed.
    """

    flags: tuple[str, ...]
    text: str
    takes_value: bool
    values: tuple[str, ...] = ()

    @property
    def takes_list(self) -> bool:
        """Whether the value is a comma-separated list."""
        return "--methods" in self.flags


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        text: One line that says what the command does.
        options: Options of the command.
        values: Allowed values of the command's argument; empty if any value is allowed.
    """

    text: str
    options: tuple[Option, ...]
    values: tuple[str, ...] = ()


def completion_script(program: Parser, shell: str) -> str:
    """Return the completion script for a program.

    Args:
        program: The program's parser.
        shell: Name of the shell, one of `SHELLS`.
    """
    from omnidistill.experiments.config import describe_comparisons, preset_names

    methods, comparisons = tuple(preset_names()), tuple(describe_comparisons())
    commands = {
        name: _command(group.summaries[name], parser, comparisons if name == "compare" else methods, methods)
        for group in program.command_groups
        for name, parser in group.parsers.items()
    }
    return _WRITERS[shell](commands)


def _command(text: str, parser: Parser, presets: tuple[str, ...], methods: tuple[str, ...]) -> Command:
    options, values = [], tuple[str, ...]()
    for action in parser.actions():
        known = tuple(map(str, action.choices or ()))
        if "--preset" in action.option_strings:
            known = presets
        if "--methods" in action.option_strings:
            known = methods
        help_text = (action.help or "").replace("%%", "%")
        if action.option_strings:
            options.append(Option(tuple(action.option_strings), help_text, action.nargs not in (0, "?"), known))
        else:
            values = known or values
    return Command(text, tuple(options), values)


def _bash(commands: dict[str, Command]) -> str:
    valued = [
        (name, flag, option)
        for name, command in commands.items()
        for option in command.options
        for flag in option.flags
        if option.takes_value
    ]
    cases = [
        f'        "{name} {flag}") _omnidistill_words {int(option.takes_list)} "{" ".join(option.values)}" ;;'
        for name, flag, option in valued
        if option.values
    ]
    files = sorted({f'"{name} {flag}"' for name, flag, option in valued if not option.values})
    words = [f'        {name}) words="{" ".join(_flags(command))}" values="{" ".join(command.values)}" ;;'
             for name, command in commands.items()]  # fmt: skip
    return "\n".join(
        [
            "# bash completion for omnidistill",
            "_omnidistill_words() {  # $1: 1 for a comma-separated list, else 0; $2: the words",
            "    local head=",
            '    [[ $1 == 1 && $cur == *,* ]] && head="${cur%,*},"',
            '    COMPREPLY=($(compgen -P "$head" -W "$2" -- "${cur#"$head"}"))',
            "}",
            "_omnidistill() {",
            '    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"',
            '    local command="" words="" values=""',
            '    (( COMP_CWORD > 1 )) && command="${COMP_WORDS[1]}"',
            "    COMPREPLY=()",
            '    case "$command $prev" in',
            *cases,
            f"        {'|'.join(files)}) return ;;" if files else "",
            "    esac",
            "    (( ${#COMPREPLY[@]} )) && return",
            '    case "$command" in',
            f'        "") _omnidistill_words 0 "{" ".join(commands)} --help --version"; return ;;',
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


def _zsh(commands: dict[str, Command]) -> str:
    descriptions = [f"        '{name}:{_quoted(command.text, ':')}'" for name, command in commands.items()]
    cases = []
    for name, command in commands.items():
        specs = [f"'{spec}'" for option in command.options for spec in _zsh_specs(option)]
        rest = f"({' '.join(command.values)})" if command.values else "_files"
        cases.append(f"        {name}) _arguments {' '.join([*specs, _zsh_rest(rest)])} ;;")
    return "\n".join(
        [
            "#compdef omnidistill",
            "_omnidistill() {",
            "    local -a commands",
            "    commands=(",
            *descriptions,
            "    )",
            "    if (( CURRENT == 2 )); then _describe command commands; return; fi",
            "    local command=$words[2]",
            "    shift words; (( CURRENT-- ))",
            "    case $command in",
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


def _fish(commands: dict[str, Command]) -> str:
    lines = ["# fish completion for omnidistill"]
    for name, command in commands.items():
        lines.append(f"complete -c omnidistill -n __fish_use_subcommand -f -a {name} -d '{_quoted(command.text)}'")
    for name, command in commands.items():
        prefix = f"complete -c omnidistill -n '__fish_seen_subcommand_from {name}'"
        for option in command.options:
            flags = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags)
            value = f" -x -a '{' '.join(option.values)}'" if option.values else " -r" if option.takes_value else ""
            lines.append(f"{prefix} {flags}{value} -d '{_quoted(option.text)}'")
        if command.values:
            lines.append(f"{prefix} -f -a '{' '.join(command.values)}'")
    return "\n".join([*lines, ""])


def _flags(command: Command) -> list[str]:
    return [flag for option in command.options for flag in option.flags]


def _quoted(text: str, special: str = "") -> str:
    """Return `text` in a form that can be put between single quotes in a script.

    Each character that occurs in `special` gets a backslash before it. Each single quote (') becomes an apostrophe (’).
    """
    for character in special:
        text = text.replace(character, f"\\{character}")
    return text.replace("'", "’")


_WRITERS: dict[str, Callable[[dict[str, Command]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
