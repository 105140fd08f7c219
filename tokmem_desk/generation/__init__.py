"""From a message to an answer: read once, choose a route per segment, generate under its memory, held to its form.

``recall`` is the way in. Choosing the route is in ``tokmem_desk.routing``; the forms are in
``tokmem_desk.templates``.
"""
