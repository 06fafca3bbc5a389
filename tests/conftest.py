"""Settings every test shares. ``tests`` itself is on the import path: ``from shared import shared_path``."""

from hypothesis import settings

settings.register_profile("shared_machine", deadline=None)  # a slow moment of the machine is no finding
settings.load_profile("shared_machine")
