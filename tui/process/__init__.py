"""What every process of the program does: keeps its memory private, says faults in words, logs no private text.

It starts no engine (``tui.engine_client``) and draws nothing (``tui.kit``).
"""
