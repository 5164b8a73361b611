"""Signs in to Google Drive with a token that PySyft made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datasites.errors import SettingsError, TransportError
from datasites.private import check_private_file
from datasites.syftbox.drive import DriveFolder

__all__ = ["open_drive"]


def open_drive(folder: str, options: dict[str, Any], timeout: int) -> DriveFolder:
    """Sign in and open one folder.

    Args:
        folder: the folder's id, as its web address shows it.
        options: `token_file`, PySyft's token of an authorized user, readable by its owner alone;
            `api_endpoint`, a stand-in for Google's server.
        timeout: seconds that the server may be silent.

    Raises: TransportError if there is no usable token, or no such folder.
    """
    from google.oauth2.credentials import Credentials
    from google_auth_httplib2 import AuthorizedHttp  # type: ignore[import-untyped]
    from googleapiclient.discovery import build_from_document  # type: ignore[import-untyped]
    from googleapiclient.discovery_cache import get_static_doc  # type: ignore[import-untyped]
    from googleapiclient.http import build_http  # type: ignore[import-untyped]
    from syft.sync.connections.drive.gdrive_transport import SCOPES, build_drive_service

    file = Path(str(options.get("token_file", "no-token"))).expanduser()
    try:
        check_private_file(file)
        signed_in = Credentials.from_authorized_user_file(  # type: ignore[no-untyped-call]
            str(file), SCOPES
        )
    except (SettingsError, OSError, ValueError, TypeError, AttributeError):
        # Their words would quote the file.
        raise TransportError(
            "expected token_file in the share's options to name a token that PySyft made for "
            "Google Drive, found none; see docs/distance.md"
        ) from None
    if "api_endpoint" in options:
        document = json.loads(get_static_doc("drive", "v3"))
        document["rootUrl"] = options["api_endpoint"].rstrip("/") + "/"
        http = build_http()
        http.timeout = timeout
        service = build_from_document(document, http=AuthorizedHttp(signed_in, http=http))
    else:
        service = build_drive_service(signed_in, timeout)
    opened = DriveFolder(service, folder)
    opened.check()
    return opened
