"""Text from elsewhere as text: nothing in it becomes markup, a picture, a link or an icon.

Streamlit reads labels, help, captions, messages and dialogs' titles as Markdown. A toy's title, a
peer's message or a column's name there could draw a picture from somebody's server, which would
tell that server who looks at the page.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["plain", "plain_error"]

MOST = 300
MOST_OF_ERROR = 1000
_JOINER = "\u2060"
_MARKUP = re.compile(r"[\\`*_\[\]!:$<>#~|&]")
_AT_START = re.compile(r"^(\d+(?=[.)])|(?=[-+=]))")
# Links, icons and emoji are also found in text that was escaped; an invisible joiner parts them.
_FOUND_LATER = re.compile(r"(:)(?=[\w/+-])|(@)(?=\w)|(\bwww)(?=\.)", re.IGNORECASE)
_TURNS_DIRECTION = frozenset(
    "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def plain(text: object, most: int = MOST) -> str:
    """`text` on one line, cut to `most` characters, so that Markdown shows it as it is."""
    line = "".join(
        " " if unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") else one
        for one in str(text)
        if one not in _TURNS_DIRECTION
    ).strip()
    if len(line) > most:
        line = line[: most - 1] + "…"
    line = _FOUND_LATER.sub(lambda hit: hit[0] + _JOINER, line)
    line = _MARKUP.sub(r"\\\g<0>", line)
    return _AT_START.sub(r"\1\\", line)


def plain_error(error: object) -> str:
    """An error's text, which may quote a file, a peer or a program."""
    return plain(error, MOST_OF_ERROR)
