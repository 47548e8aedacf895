r"""Text from files and names, made safe to print: characters that control a terminal or a page are shown as escapes.

A name such as "\x1b[2Jrow" can clear a screen, recolour it or hide what follows. A character that changes the text
direction can make a name look like another name. A lone surrogate, such as in the name of a file that is not UTF-8,
cannot be encoded.
"""

from __future__ import annotations

import re

_CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return the text with control, direction and surrogate characters replaced by their escapes, such as `\u001b`.

    Line breaks and tabs stay. In a double-quoted string of JSON or YAML, an escape stands for the character that it
    replaces, so the string keeps its meaning.
    """
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
