"""What is trained for one procedure: address, steering, extractor; what routing keeps of it; the file of one memory.

It chooses no procedure and makes no answer. Routes are in ``tokmem_desk.routing``, answers in
``tokmem_desk.generation``, files with many memories in ``tokmem_desk.bank``.
"""
