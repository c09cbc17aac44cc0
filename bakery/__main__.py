"""`python -m bakery` is `bake`."""

from bakery.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
