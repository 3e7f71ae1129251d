"""Text that Arrow must not be given where it reads decimals.

With more than 76 digits after the point, written out or by an exponent, Arrow 20 to 26 reads beyond its table of powers of
ten: `1e-77` comes out as 0 and `1e-9999999` kills the process. Chunks with such text are recognised by their bytes, at a few
milliseconds per 10 MB, and their decimals are read without Arrow.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_ZERO, _NINE = b"09"

_ZEROS = b"." + b"0" * 20
"""With fewer zeros, 38 digits and an exponent down to -19 there are at most 76 places."""
_EIGHT_ZEROS = 0x3030303030303030
_EXPONENT = re.compile(rb"[eE]-0*(?:[2-9][0-9]|[0-9]{3})")
# Written with escapes, the text of a number need not hold these bytes: minus, point, digits, e and E.
_ESCAPED = re.compile(rb"\\u00(?:2[dDeE]|3[0-9]|[46]5)")
_PAIRS = ((0x2D65, _EXPONENT), (0x2D45, _EXPONENT), (0x755C, _ESCAPED))
"""`e-`, `E-` and `\\u`, read as 16-bit numbers, and what to look for at such a place."""
_PAIRS_AT_ONCE = 1 << 16
"""So many that what is computed on the way stays in the processor's cache."""


def endangers_decimals(data: bytes) -> bool:
    """Whether some text of a chunk may be a number of very many places."""
    return (_has_zeros(data) and _ZEROS in data) or _has_exponent(data)


def _has_zeros(data: bytes) -> bool:
    # 20 zeros in a row fill at least one aligned word of eight.
    words = np.frombuffer(data, "<u8", len(data) // 8) if len(data) >= 8 else np.empty(0, "<u8")
    return bool((words == _EIGHT_ZEROS).any())


def _has_exponent(data: bytes) -> bool:
    # Pairs at even and at odd places: many times as fast as a regular expression over all of it.
    hit = np.empty(_PAIRS_AT_ONCE, np.bool_)
    wanted = _PAIRS if b"\\" in data else _PAIRS[:2]
    for start in (0, 1):
        if len(data) < start + 2:
            return False
        pairs = np.frombuffer(data, "<u2", (len(data) - start) // 2, start)
        for low in range(0, len(pairs), _PAIRS_AT_ONCE):
            some = pairs[low : low + _PAIRS_AT_ONCE]
            for pair, follows in wanted:
                hits = np.equal(some, pair, out=hit[: len(some)])
                if hits.any() and _matches(data, start + 2 * (low + np.flatnonzero(hits)), follows):
                    return True
    return False


def _matches(data: bytes, places: npt.NDArray[np.intp], pattern: re.Pattern[bytes]) -> bool:
    # In text "e-" and escapes are common; a digit must follow them, and that is looked at without Python per place.
    places = places[places + 2 < len(data)]
    after = np.frombuffer(data, np.uint8)[places + 2]
    return any(pattern.match(data, p) for p in places[(after >= _ZERO) & (after <= _NINE)].tolist())
