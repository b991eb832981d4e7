"""`python -m hub` is the `hub` command, also where the script is not on PATH."""

import sys

from hub.cli.main import main

if __name__ == "__main__":  # worker processes import this file again
    sys.exit(main())
