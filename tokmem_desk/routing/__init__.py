"""Which procedure a message belongs to, or none: features, two routers, calibrated probabilities, segments.

It makes no answer; ``tokmem_desk.generation`` does. What one procedure contributes is in ``tokmem_desk.memory``.
"""
