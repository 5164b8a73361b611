"""The study desk: what a data scientist composes, sends, watches and takes home."""

from ui.web.views.study.page import page

__all__ = ["page"]
