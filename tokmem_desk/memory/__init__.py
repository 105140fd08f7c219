"""What is trained for one procedure: address and steering; what routing keeps of it; the file of one memory.

Steering has parts of several kinds. Each kind is declared in a module of its own (``input_rows``, ``kv_positions``,
``kv_adapter``, ``extractor``), and all are listed in ``steering``.

It chooses no procedure and makes no answer. Routes are in ``tokmem_desk.routing``, answers in
``tokmem_desk.generation``, files with many memories in ``tokmem_desk.bank``.
"""
