"""Learning where memories of a model start, from procedures of the project's own (``trainer.auxiliary``).

Using such a start is in ``trainer.memory_start``.
"""
