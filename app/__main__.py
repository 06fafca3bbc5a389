"""``python -m app`` is ``quantcloud``: how the local stack starts its children, whatever is on PATH."""

from app.cli import main

main()
