"""The `toyfed web` pages: shop, merchant console, insights. Started by `ui.cli.web`."""

from ui.web.manifest import MANIFEST_VARIABLE, Manifest, read_manifest, write_manifest

__all__ = ["MANIFEST_VARIABLE", "Manifest", "read_manifest", "write_manifest"]
