"""What one person keeps on disk: procedures, pairs, memories, chats, settings; plain or encrypted. No model, no torch.

What the files of memories and banks contain is in ``tokmem_desk``; what people see of all this is in ``tui``.
"""
