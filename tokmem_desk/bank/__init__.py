"""Bank files (``.tokmem``): many memories of one backbone in one archive, written, checked field by field, and read.

No torch, and no profile: storing what was read is in ``profiles.store``. The file of a single memory is in
``tokmem_desk.memory``.
"""
