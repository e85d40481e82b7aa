"""`python -m mmlearn`."""

import sys

from mmlearn.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
