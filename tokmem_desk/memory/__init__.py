"""What is trained for one procedure: address (how it is found) and steering (how it acts).

Its statistics for the router (``router_statistics``) and the file of one memory (``file``) are here too.

Steering has parts of several kinds. Each kind is declared in a module of its own (``input_rows``, ``kv_positions``,
``kv_adapter``, ``extractor``), and all are listed in ``steering``.

It chooses no procedure and makes no answer. Routes are in ``tokmem_desk.routing``, answers in
``tokmem_desk.generation``, files with many memories in ``tokmem_desk.bank``.
"""
