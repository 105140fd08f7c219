"""The engine process: one model, requests of many clients that take turns, training beside chat.

Clients never import it but for ``python -m tui.engine``; they use ``tui.engine_client``.
"""
