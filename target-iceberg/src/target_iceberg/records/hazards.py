"""Text that Arrow must not be given where it reads decimals.

With more than 76 digits after the point, written out or by an exponent, Arrow 20 to 26 reads beyond its table of powers of
ten: `1e-77` comes out as 0 and `1e-9999999` kills the process. Chunks with such text are recognised by their bytes, at a few
milliseconds per 10 MB, and their decimals are read without Arrow.
"""

from __future__ import annotations

import re

import numpy as np

_ZEROS = b"." + b"0" * 20
"""With fewer zeros, 38 digits and an exponent down to -19 there are at most 76 places."""
_EXPONENT = re.compile(rb"[eE]-0*(?:[2-9][0-9]|[0-9]{3})")
_MINUS_E, _MINUS_CAPITAL_E = 0x2D65, 0x2D45
# Escaped, the text of a number has none of these bytes: minus, point, digits, e and E.
_ESCAPED = re.compile(rb"\\u00(?:2[dDeE]|3[0-9]|[46]5)")


def endangers_decimals(data: bytes) -> bool:
    """Whether some text of a chunk may be a number of very many places."""
    if _ZEROS in data:
        return True
    if _has_minus_after_e(data) and _EXPONENT.search(data):
        return True
    return b"\\u00" in data and _ESCAPED.search(data) is not None


def _has_minus_after_e(data: bytes) -> bool:
    # Pairs of bytes as 16-bit numbers, even and odd places: five times as fast as a regular expression.
    for start in (0, 1):
        pairs = (
            np.frombuffer(data, "<u2", (len(data) - start) // 2, start) if len(data) > start + 1 else np.empty(0, "<u2")
        )
        if (pairs == _MINUS_E).any() or (pairs == _MINUS_CAPITAL_E).any():
            return True
    return False
