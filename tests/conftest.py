"""Settings every test shares. ``tests`` itself is on the import path: ``from shared import shared_path``."""
