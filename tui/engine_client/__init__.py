"""The client of the engine process: starting it, the protocol, sharing one engine among windows. No torch.

The server, with the model, is in ``tui.engine``.
"""
