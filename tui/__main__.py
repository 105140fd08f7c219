"""``python -m tui`` is the same as ``tokmem-desk``."""

from __future__ import annotations

import sys

from tui.cli.main import main

sys.exit(main())
