"""The same recommendations as JSON, for a shop's own programs; from the pages' own process."""

from ui.api.keys import ApiKey, KeyRing
from ui.api.openapi import openapi
from ui.api.routes import OPEN_PATHS, OPEN_PREFIXES, Api, api_routes

__all__ = ["OPEN_PATHS", "OPEN_PREFIXES", "Api", "ApiKey", "KeyRing", "api_routes", "openapi"]
