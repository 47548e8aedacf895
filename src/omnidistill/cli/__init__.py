"""The command line. Nothing heavy is imported before a verb needs it, so help is instant.

Exit codes: 0 done; 1 a part of a comparison failed, or out of memory; 2 bad input (one line says what, where, what to
do); 3 a computation became NaN or Inf; 130 interrupted (resumable).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from omnidistill.cli.arguments import make_parser
from omnidistill.errors import OmnidistillError

__all__ = ["main", "make_parser"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code."""
    options = make_parser().parse_args(arguments)
    try:
        return int(options.verb(options) or 0)
    except OmnidistillError as error:
        print(f"omnidistill: {' '.join(str(error).split())}", file=sys.stderr)  # one line, whatever a name holds
        return error.exit_code
    except KeyboardInterrupt:
        print("omnidistill: interrupted; what was finished is kept, repeat the command with --resume", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except MemoryError:
        print("omnidistill: out of memory; use fewer experts, a smaller width or fewer seeds", file=sys.stderr)
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"omnidistill: {where}{error.strerror or error}", file=sys.stderr)
        return 2
