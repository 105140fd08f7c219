"""What screens are made of: the base of screens and dialogs, small widgets, keys, themes, words for figures.

It knows no screen of the app. A widget that one room alone uses is in that room.
"""
