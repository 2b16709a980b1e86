"""``python -m wasclean.cli``."""

import sys

from . import main

sys.exit(main())
