"""The `toyfed` command line: one file per verb."""

from ui.cli.app import app, main

__all__ = ["app", "main"]
