"""Draws a small picture for a toy that has none: by its category, coloured by its id."""

from __future__ import annotations

import base64
import colorsys
import hashlib

__all__ = ["toy_picture_uri", "toy_svg"]

# The drawings use three colours: {a} the main one, {b} a second, {c} a dark line.
_DRAWINGS = {
    "rattle": '<circle cx="60" cy="42" r="24" fill="{a}"/><circle cx="60" cy="42" r="10" '
    'fill="{b}"/><rect x="55" y="64" width="10" height="30" rx="5" fill="{c}"/>'
    '<circle cx="60" cy="98" r="9" fill="{b}"/>',
    "blocks": '<rect x="24" y="62" width="34" height="34" rx="4" fill="{a}"/>'
    '<rect x="62" y="62" width="34" height="34" rx="4" fill="{b}"/>'
    '<path d="M60 22 81 58H39z" fill="{c}"/>',
    "train": '<rect x="28" y="48" width="42" height="32" rx="5" fill="{a}"/>'
    '<rect x="66" y="28" width="28" height="52" rx="5" fill="{b}"/>'
    '<rect x="36" y="30" width="11" height="20" fill="{c}"/>'
    '<rect x="73" y="37" width="14" height="14" rx="2" fill="#fff"/>'
    '<circle cx="42" cy="86" r="10" fill="{c}"/><circle cx="80" cy="86" r="10" fill="{c}"/>',
    "car": '<path d="M20 78V62q0-6 7-7l12-2 12-16q2-3 6-3h22q4 0 6 4l9 16q8 1 8 8v16z" '
    'fill="{a}"/><path d="M52 52l8-11h12v11zM77 52V41h4l6 11z" fill="#fff"/>'
    '<circle cx="40" cy="80" r="11" fill="{c}"/><circle cx="82" cy="80" r="11" fill="{c}"/>',
    "doll": '<circle cx="60" cy="36" r="18" fill="#f3d3b8"/>'
    '<path d="M40 38a20 20 0 0 1 40 0q-20-16-40 0z" fill="{c}"/>'
    '<path d="M60 54 88 98H32z" fill="{a}"/><circle cx="60" cy="76" r="5" fill="{b}"/>'
    '<circle cx="54" cy="39" r="2" fill="{c}"/><circle cx="66" cy="39" r="2" fill="{c}"/>',
    "house": '<path d="M60 20 102 56H18z" fill="{a}"/><rect x="28" y="56" width="64" height="42" '
    'fill="{b}"/><rect x="53" y="70" width="15" height="28" fill="{c}"/>'
    '<rect x="35" y="64" width="13" height="13" fill="#fff"/>'
    '<rect x="73" y="64" width="13" height="13" fill="#fff"/>',
    "bear": '<circle cx="38" cy="36" r="13" fill="{a}"/><circle cx="82" cy="36" r="13" '
    'fill="{a}"/><circle cx="60" cy="60" r="36" fill="{a}"/>'
    '<ellipse cx="60" cy="70" rx="16" ry="13" fill="{b}"/><circle cx="60" cy="65" r="5" '
    'fill="{c}"/><circle cx="46" cy="53" r="4" fill="{c}"/><circle cx="74" cy="53" r="4" '
    'fill="{c}"/>',
    "robot": '<rect x="34" y="30" width="52" height="34" rx="7" fill="{a}"/>'
    '<rect x="40" y="68" width="40" height="30" rx="5" fill="{b}"/>'
    '<circle cx="49" cy="46" r="6" fill="#fff"/><circle cx="71" cy="46" r="6" fill="#fff"/>'
    '<path d="M60 30V18" stroke="{c}" stroke-width="4"/><circle cx="60" cy="17" r="5" '
    'fill="{c}"/>',
    "animal": '<ellipse cx="58" cy="64" rx="32" ry="19" fill="{a}"/>'
    '<circle cx="90" cy="44" r="14" fill="{a}"/><path d="M32 74h11v24H32zM72 74h11v24H72z" '
    'fill="{c}"/><circle cx="94" cy="42" r="3" fill="#fff"/>'
    '<path d="M28 58q-12-4-10-18" stroke="{b}" stroke-width="5" fill="none"/>',
    "pot": '<rect x="28" y="52" width="64" height="42" rx="10" fill="{a}"/>'
    '<rect x="22" y="44" width="76" height="10" rx="5" fill="{b}"/>'
    '<circle cx="60" cy="38" r="6" fill="{c}"/><path d="M28 62H14M92 62h14" stroke="{c}" '
    'stroke-width="6"/>',
    "cape": '<path d="M38 44h44l20 54H18z" fill="{a}"/>'
    '<path d="M38 40V18l11 10 11-14 11 14 11-10v22z" fill="{b}"/>'
    '<circle cx="60" cy="34" r="4" fill="{c}"/>',
    "puzzle": '<path d="M26 34h24a10 10 0 1 1 18 0h26v24a10 10 0 1 0 0 18v20H26z" fill="{a}"/>'
    '<circle cx="46" cy="74" r="9" fill="{b}"/><circle cx="72" cy="54" r="5" fill="{c}"/>',
    "dice": '<rect x="20" y="42" width="48" height="48" rx="9" fill="{a}"/>'
    '<rect x="60" y="26" width="40" height="40" rx="8" fill="{b}"/>'
    '<g fill="#fff"><circle cx="33" cy="55" r="5"/><circle cx="44" cy="66" r="5"/>'
    '<circle cx="55" cy="77" r="5"/><circle cx="72" cy="38" r="4"/><circle cx="88" cy="54" '
    'r="4"/></g>',
    "cards": '<rect x="24" y="34" width="40" height="58" rx="6" fill="{b}" '
    'transform="rotate(-12 44 63)"/><rect x="52" y="30" width="42" height="60" rx="6" '
    'fill="{a}"/><path d="M73 46l12 15-12 15-12-15z" fill="#fff"/>',
    "palette": '<path d="M60 26c-26 0-42 16-42 36s16 34 38 34c10 0 8-8 6-12-3-7 2-12 10-12h14c10 '
    '0 16-6 16-14 0-20-18-32-42-32z" fill="{a}"/><circle cx="40" cy="54" r="7" fill="#fff"/>'
    '<circle cx="60" cy="43" r="7" fill="{b}"/><circle cx="81" cy="52" r="7" fill="{c}"/>',
    "flask": '<path d="M50 20h20v26l24 42q4 10-8 10H34q-12 0-8-10l24-42z" fill="{b}"/>'
    '<path d="M41 62h38l15 26q4 10-8 10H34q-12 0-8-10z" fill="{a}"/>'
    '<circle cx="52" cy="80" r="5" fill="#fff"/><circle cx="68" cy="74" r="4" fill="#fff"/>'
    '<rect x="46" y="16" width="28" height="7" rx="3" fill="{c}"/>',
    "letters": '<rect x="20" y="24" width="80" height="72" rx="8" fill="{a}"/>'
    '<path d="M34 78 48 42l14 36M39 66h18" stroke="#fff" stroke-width="6" fill="none"/>'
    '<path d="M74 44v34" stroke="{b}" stroke-width="8"/><circle cx="88" cy="72" r="6" '
    'fill="{c}"/>',
    "drum": '<ellipse cx="60" cy="48" rx="36" ry="13" fill="{b}"/>'
    '<path d="M24 48v36q36 24 72 0V48q-36 24-72 0z" fill="{a}"/>'
    '<path d="M40 16l22 28M84 16 64 42" stroke="{c}" stroke-width="5"/>',
    "ball": '<circle cx="60" cy="60" r="38" fill="{a}"/>'
    '<path d="M60 22a38 38 0 0 1 0 76q-24-38 0-76z" fill="{b}"/>'
    '<circle cx="60" cy="60" r="9" fill="#fff"/>',
    "bucket": '<path d="M30 50h60l-8 46H38z" fill="{a}"/><path d="M34 50q26-44 52 0" '
    'stroke="{c}" stroke-width="5" fill="none"/><rect x="26" y="46" width="68" height="9" '
    'rx="4" fill="{b}"/>',
    "bike": '<circle cx="34" cy="78" r="19" fill="none" stroke="{c}" stroke-width="7"/>'
    '<circle cx="86" cy="78" r="19" fill="none" stroke="{c}" stroke-width="7"/>'
    '<path d="M34 78 52 48h26l8 30M46 42h16M78 48l-3-16h11" stroke="{a}" stroke-width="7" '
    'fill="none"/>',
    "kite": '<path d="M60 14 92 50 60 88 28 50z" fill="{a}"/><path d="M60 14v74L28 50z" '
    'fill="{b}"/><path d="M60 88q14 8 4 18" stroke="{c}" stroke-width="4" fill="none"/>',
    "case": '<rect x="22" y="44" width="76" height="52" rx="9" fill="{a}"/>'
    '<path d="M46 44V32q0-6 6-6h16q6 0 6 6v12" stroke="{c}" stroke-width="7" fill="none"/>'
    '<path d="M60 54v30M45 69h30" stroke="#fff" stroke-width="10"/>',
    "ukulele": '<path d="M60 12v40" stroke="{c}" stroke-width="9"/>'
    '<circle cx="60" cy="58" r="17" fill="{a}"/><circle cx="60" cy="84" r="22" fill="{a}"/>'
    '<circle cx="60" cy="70" r="8" fill="{b}"/><path d="M48 92h24" stroke="{c}" '
    'stroke-width="5"/>',
    "globe": '<circle cx="60" cy="52" r="32" fill="{a}"/>'
    '<path d="M40 40q14-16 24 0t-8 18-16-18zM66 62q16-10 20 4-10 16-20-4z" fill="{b}"/>'
    '<path d="M60 86v12M42 100h36" stroke="{c}" stroke-width="7"/>',
    "parcel": '<rect x="24" y="46" width="72" height="50" rx="5" fill="{a}"/>'
    '<rect x="20" y="36" width="80" height="16" rx="4" fill="{b}"/>'
    '<rect x="53" y="36" width="14" height="60" fill="{c}"/>'
    '<path d="M60 36q-24-4-16-18 12-4 16 18 4-22 16-18 8 14-16 18z" fill="{c}"/>',
}

# The first word found in the category path decides, so the more special ones come first.
_WORDS = (
    ("dollhouse", "house"),
    ("play world", "house"),
    ("doll", "doll"),
    ("puzzle", "puzzle"),
    ("teaser", "puzzle"),
    ("railway", "train"),
    ("train", "train"),
    ("track", "car"),
    ("cars", "car"),
    ("machine", "car"),
    ("remote control", "car"),
    ("vehicle", "car"),
    ("card game", "cards"),
    ("memory", "cards"),
    ("trading card", "cards"),
    ("robot", "robot"),
    ("electronic", "robot"),
    ("coding", "robot"),
    ("cuddly", "bear"),
    ("plush", "bear"),
    ("stuffed", "bear"),
    ("animal", "animal"),
    ("action", "robot"),
    ("statue", "robot"),
    ("figure", "animal"),
    ("doctor", "case"),
    ("workbench", "case"),
    ("instrument", "ukulele"),
    ("globe", "globe"),
    ("astronomy", "globe"),
    ("kitchen", "pot"),
    ("market", "pot"),
    ("dress", "cape"),
    ("costume", "cape"),
    ("pretend", "pot"),
    ("building", "blocks"),
    ("block", "blocks"),
    ("stacking", "blocks"),
    ("baby", "rattle"),
    ("toddler", "rattle"),
    ("art", "palette"),
    ("craft", "palette"),
    ("drawing", "palette"),
    ("science", "flask"),
    ("discovery", "flask"),
    ("learning", "letters"),
    ("education", "letters"),
    ("music", "drum"),
    ("sand", "bucket"),
    ("water", "bucket"),
    ("garden", "bucket"),
    ("ride", "bike"),
    ("trike", "bike"),
    ("kite", "kite"),
    ("outdoor", "ball"),
    ("sport", "ball"),
    ("game", "dice"),
    ("hobb", "palette"),
)


def toy_svg(category_path: str, item_id: str, size: int = 240) -> str:
    """A square SVG picture, always the same for the same category and id.

    Args:
        category_path: levels joined by ' > '; an unknown one gives a wrapped parcel.
        item_id: decides the colours.
        size: width and height in pixels.

    Returns:
        SVG text that holds nothing of the two texts themselves, so that it is safe in a page.
    """
    digest = hashlib.sha256(item_id.encode()).digest()
    hue = int.from_bytes(digest[:2], "big") / 65536
    second = (hue + (0.33, 0.42, 0.58)[digest[2] % 3]) % 1.0
    colours = {
        "a": _colour(hue, 0.56, 0.62),
        "b": _colour(second, 0.66, 0.66),
        "c": _colour(hue, 0.28, 0.45),
    }
    ground = _colour((hue + 0.08) % 1.0, 0.95, 0.5)
    drawing = _DRAWINGS[_drawing_of(category_path)].format(**colours)
    tilt = digest[3] % 13 - 6
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{int(size)}" height="{int(size)}" '
        f'viewBox="0 0 120 120" role="img"><rect width="120" height="120" rx="12" '
        f'fill="{ground}"/><g transform="rotate({tilt} 60 60)">{drawing}</g></svg>'
    )


def toy_picture_uri(category_path: str, item_id: str, size: int = 240) -> str:
    """The picture of `toy_svg` as a data URI, for an `<img>`."""
    svg = toy_svg(category_path, item_id, size).encode()
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def _drawing_of(category_path: str) -> str:
    levels = [level.lower() for level in category_path.split(">")]
    # The deepest level says most about how the toy looks.
    for level in reversed(levels):
        for word, drawing in _WORDS:
            if word in level and level.strip() not in ("toys & games", "toys"):
                return drawing
    return "parcel"


def _colour(hue: float, lightness: float, saturation: float) -> str:
    channels = colorsys.hls_to_rgb(hue, lightness, saturation)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in channels)
