"""The app around the screens: start, the open profile, the engine's care, settings, help, reports, first steps.

It is the top floor: no other room imports it but the starting commands.
"""
