"""Insights: how good the recommendations are, who gains, what privacy and time it costs."""

from ui.web.views.insights.page import page

__all__ = ["page"]
