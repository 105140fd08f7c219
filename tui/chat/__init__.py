"""The chat: conversations, the transcript with its routes, the prompt, and what can be done with a message.

Asking the model is in ``tui.engine_client``; keeping conversations is in ``profiles.store``.
"""
