"""The Singer SDK's own tests of a tap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from singer_sdk.testing import get_tap_test_class

from tap_csv.tap import TapCSV

DATA = Path(__file__).parent / "data"

TestTapCSV: Any = get_tap_test_class(
    TapCSV,
    config={"base_path": str(DATA), "files": [{"path": "orders.csv", "keys": ["order_id"]}, {"path": "customers.csv"}]},
    parse_env_config=False,
)
