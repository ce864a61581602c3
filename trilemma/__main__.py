"""``python -m trilemma``: the command line."""

from trilemma.cli import main

if __name__ == "__main__":
    main()
