"""``python -m pmsi`` and the installed ``pmsi`` command."""

import sys

from pmsi.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
