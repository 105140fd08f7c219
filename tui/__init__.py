"""Everything people and programs meet: screens, commands, the web server, and the engine process behind them.

Each room of the app has its screen, dialogs, widgets and styles together. The model is loaded in ``tui.engine`` alone.
"""
