"""The command line: which verbs there are, and under which theme help lists them."""

from __future__ import annotations

import argparse
from typing import Any

from omnidistill.cli.completion import add_completion_verb
from omnidistill.cli.convert_verb import add_convert_verb
from omnidistill.cli.data_verbs import add_data_verbs
from omnidistill.cli.encode_verb import add_encode_verb
from omnidistill.cli.judging_verbs import add_compare_verb, add_demo_verb, add_evaluate_verb
from omnidistill.cli.looking_verbs import add_doctor_verb, add_looking_verbs
from omnidistill.cli.making_verbs import add_making_verbs
from omnidistill.cli.media_verbs import add_media_verbs
from omnidistill.cli.parsing import Parser, Theme
from omnidistill.cli.report_verb import add_report_verb
from omnidistill.cli.sharing_verbs import add_sharing_verbs

_DESCRIPTION = (
    "Compress a paired multimodal data set into a few hundred synthetic instances on which projection heads train "
    "almost as well as on all of it."
)

_EPILOG = """examples:
  omnidistill demo                            real data, a page to look at
  omnidistill pack --features feats.npz --table rows.csv -o SET
  omnidistill distill SET --size 100 -o RUN   100 rows; makes heads and experts
  omnidistill distill SET --bytes 1% -o RUN   1 % of the training features
  omnidistill evaluate RUN

SET is a folder made by 'pack' or 'encode', or 'emoji' for the bundled data.
Use 'omnidistill VERB --help' for the options and examples of a verb.

exit codes:
  0  done
  1  a part of a comparison failed, out of memory, a broken installation
  2  bad input
  3  a computation became NaN or Inf
  130  interrupted; what was finished is kept"""

_THEMES = {
    "begin": (add_demo_verb, add_doctor_verb),
    "data": (add_data_verbs, add_encode_verb, add_media_verbs, add_convert_verb),
    "make a set": (add_making_verbs,),
    "judge it": (add_evaluate_verb, add_compare_verb, add_report_verb),
    "share it": (add_sharing_verbs,),
    "look": (add_looking_verbs, add_completion_verb),
}
"""What is used most first."""


def make_parser() -> Parser:
    """All verbs and their flags; each sets `verb` to what it does, and `parser` to its own."""
    parser = Parser(prog="omnidistill", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    parser.set_defaults(verb=None, parser=parser, light=False)
    added = parser.add_subparsers(metavar="VERB", parser_class=Parser)
    for title, adders in _THEMES.items():
        theme = Theme(title, added)
        for add in adders:
            add(theme)
        parser.themes.append(theme)
    return parser


class _Version(argparse.Action):
    def __call__(self, *_: Any) -> None:
        from importlib.metadata import version

        print(f"omnidistill {version('omnidistill')}")
        raise SystemExit(0)
