"""The paper's own form of the method (arXiv 2510.00444): chains of memories in one sequence, and the adapted backbone.

For comparison and for ``tokmem-desk adapt``; the app's answers do not need it. Its training is in ``trainer.paper``.
"""
