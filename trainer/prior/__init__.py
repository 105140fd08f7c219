"""Learning where memories of a model start, from procedures of the project's own (``trainer.auxiliary``).

Training begins from it in ``trainer.memory_start``.
"""
