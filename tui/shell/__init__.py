"""The app around its screens: its controllers (engine, profiles, locks, trainings, downloads), the lists of screens and
commands, the palette, the help, the debug report, the Settings screen and the first steps.

Only the commands that start the app import it. What the screens may use of it is in ``tui.kit.services``.
"""
