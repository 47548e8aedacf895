"""Entry point of `python -m omnidistill`."""

from omnidistill.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
