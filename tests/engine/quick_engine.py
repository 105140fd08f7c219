"""The engine, but for how long it takes to fit a router and a segment tagger (``tests.quick_fits``)."""

from __future__ import annotations

import sys

from tokmem_desk.system.threads import wait_asleep

if __name__ == "__main__":
    wait_asleep()
    from tests.quick_fits import fit_quickly
    from tui.engine.__main__ import main

    fit_quickly()
    sys.exit(main())
