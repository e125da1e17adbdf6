"""`python -m pe_inspect` is the same program as `pe-inspect`."""

from pe_inspect.commands import main

if __name__ == "__main__":
    main()
