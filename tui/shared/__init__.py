"""What several rooms need and none draws: procedures as lines, how far a training is, the commands of procedures.

Widgets that several rooms need are in ``tui.kit``; what one room alone needs is in that room.
"""
