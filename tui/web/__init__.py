"""The app in a browser on this computer: who may see it, and one engine for all its windows. Loads no torch."""
