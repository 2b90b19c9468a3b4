"""`python -m pyoci`: the command line under whatever interpreter one likes, say with a debugger or a tracer."""

from pyoci.cli.main import main

if __name__ == "__main__":
    main()
