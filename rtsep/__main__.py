"""`python -m rtsep` is the command line."""

from rtsep.cli.main import main

if __name__ == "__main__":
    main()
