"""What screens are made of: their base, what they see of the app, dialogs, small widgets, keys, themes, wording.

It knows no screen of the app. A widget that one room alone uses is in that room.
"""
