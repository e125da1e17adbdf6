"""Run the command line from a checkout, without installing: `python cli.py COMMAND`."""

from pe_inspect.commands import main

if __name__ == "__main__":
    main()
