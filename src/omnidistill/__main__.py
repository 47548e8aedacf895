"""Entry point of the program `omnidistill`, also as `python -m omnidistill`. Signals are handled before all imports."""

from __future__ import annotations

from omnidistill.core.interrupts import signals_end_program


def main() -> int:
    """Run the command on the command line, and return its exit code."""
    signals_end_program()
    from omnidistill.cli.main import main as run_command

    return run_command()


if __name__ == "__main__":
    raise SystemExit(main())
