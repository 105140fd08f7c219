"""The Models screen: which models there are, whether they fit, fetching one beside the running app.

Converting and checking is in ``tokmem_desk.models``.
"""
