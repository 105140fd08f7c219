"""The Models screen: which models there are, whether they fit, fetching one beside the running app.

This is the screen only; the models on disk, converting and checking are in ``tokmem_desk.models``, running one is in
``tokmem_desk.backbone``.
"""
