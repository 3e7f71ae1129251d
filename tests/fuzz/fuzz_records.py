"""Coverage-guided fuzzing of framing and decoding: `make fuzz SECONDS=600`."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent))
with atheris.instrument_imports(include=["target_iceberg", "harness"]):
    from harness import SEEDS, Harness, survives

HARNESS = Harness()


def one_input(data: bytes) -> None:
    """The first byte says how large blocks are."""
    if data:
        survives(HARNESS, data[1:], 1 + 7 * data[0])


def main() -> None:
    """Fuzz with a corpus that begins with one of everything."""
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(SEEDS):
        (corpus / f"seed-{i}").write_bytes(b"\xff" + seed)
    options = [
        "-timeout=20",
        "-rss_limit_mb=2000",
        "-max_len=8000",
        f"-max_total_time={sys.argv[2]}",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], str(corpus), *options], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
