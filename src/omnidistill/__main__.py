"""Entry point of `omnidistill` and `python -m omnidistill`. It sets signal handlers before it imports the commands."""

from __future__ import annotations

from omnidistill.core.interrupts import signals_end_program


def main() -> int:
    """Run the command that the user entered, and return its exit code."""
    signals_end_program()
    from omnidistill.cli.main import main as run_command

    return run_command()


if __name__ == "__main__":
    raise SystemExit(main())
