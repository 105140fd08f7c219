"""The engine process: one model, requests of many clients that take turns, training beside chat.

Clients start it (``python -m tui.engine``) and never import it; they use ``tui.engine_client``.
"""
