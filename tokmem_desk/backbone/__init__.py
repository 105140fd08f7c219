"""The frozen 4-bit model at work: messages to token ids, queries run once, their keys and values kept, logits.

It trains nothing and keeps no bank: memories come as arguments. What is trained is in ``tokmem_desk.memory``;
models on disk are in ``tokmem_desk.models``.
"""
