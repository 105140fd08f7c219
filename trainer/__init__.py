"""Training: from example pairs to a memory, and how good it is. No screens, no files.

Functions yield progress while they work.

What is trained is defined in ``tokmem_desk.memory``. Queues, checkpoints on disk and scorecards are in ``tui.engine``
and ``profiles``.

Beside the rooms:
    config: settings of a training, with units and presets.
    samples: pairs as token ids, which of them choose the best step, batches.
    query_cache: the frozen part of every example, computed once.
    choices: which tokens the form of the answers allows at each position.
    memory_start: where memories start.
    objective: the loss.
    loop: the training loop.
    finite_steps: leaves out steps whose loss or gradient is not finite.
    checkpoint: an unfinished training as bytes.
    extractor: trains extractors.
    evaluate: measures memories beside the untrained model and the pairs in a prompt.
    metrics: scores of answers and routes.
"""
