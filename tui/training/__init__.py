"""The Train screen, and the queue behind it: what trains, how far it is, and the scorecard at the end.

The work itself is done in ``tui.engine``; jobs on disk are in ``profiles.store``.
"""
