"""What the machine offers: devices and number types, torch's threads, files that survive a power cut.

It loads no model. Whether a model fits this computer is in ``tokmem_desk.models``.
"""
