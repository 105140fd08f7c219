"""Models on disk: which there are, fetching, converting to 4 bit once, checking, whether one fits this computer.

It runs no model: a folder that is ready is loaded by ``tokmem_desk.backbone``.
"""
