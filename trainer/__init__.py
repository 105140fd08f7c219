"""Training: from example pairs to a memory, and how good it is. Generators of progress; no screens, no files.

What is trained is defined in ``tokmem_desk.memory``. Queues, checkpoints on disk and scorecards are in ``tui.engine``
and ``profiles``.
"""
