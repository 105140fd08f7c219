"""Training as in the paper: chains of memories, and the phase that adapts the backbone to them.

For comparison and for ``tokmem-desk adapt``. The app's own training is in ``trainer.loop``.
"""
