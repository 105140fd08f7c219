"""The near side of the engine process: starting it, the protocol, sharing one among windows. No torch.

The far side, with the model, is in ``tui.engine``.
"""
