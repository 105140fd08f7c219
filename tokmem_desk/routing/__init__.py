"""Which procedure a message belongs to, or none: features, two routers, calibrated probabilities, segments.

``features`` makes vectors of messages, ``routers`` compares them with each procedure and ranks, ``none_calibration``
makes probabilities of similarities, that of ``none`` included. ``segment_tagger`` proposes where further requests begin
in a message, ``segments`` chooses how to split it.

It makes no answer; ``tokmem_desk.generation`` does. The statistics of one procedure are in
``tokmem_desk.memory.router_statistics``.
"""
