"""`python -m jko`."""

import sys

from jko.cli import main

sys.exit(main())
