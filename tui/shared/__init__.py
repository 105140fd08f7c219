"""Code that several rooms share and that draws nothing: procedures as lines, trainings, commands.

Widgets that several rooms need are in ``tui.kit``; what one room alone needs is in that room.
"""
