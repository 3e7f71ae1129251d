"""`retry_config`: which failures are tried again, and after how long."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dativo.config.model.resolved import Retry
    from target_iceberg.run_report import RunReport

NEVER = frozenset({"configuration", "violations", "evolution", "refused", "interrupted"})
"""Failure classes that another attempt cannot change, whatever the job lists."""


def is_worth_retrying(report: RunReport, retry: Retry) -> bool:
    """Whether a failure is retryable by its class, or the job lists its exit code or message."""
    failure = report.failure
    if failure is None or report.exit_code == 0 or failure.failure_class in NEVER:
        return False
    return (
        failure.retryable
        or report.exit_code in retry.exit_codes
        or any(re.search(pattern, failure.message) for pattern in retry.error_patterns)
    )


def delay_s(attempt: int, retry: Retry) -> float:
    """Seconds before attempt `attempt` + 1, with full jitter: jobs that failed together do not come back together."""
    ceiling = min(retry.max_delay_s, retry.initial_delay_s * retry.backoff_multiplier ** (attempt - 1))
    return random.uniform(0.0, ceiling)  # noqa: S311  spreads load, protects nothing
