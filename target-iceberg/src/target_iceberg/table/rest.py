"""Iceberg's REST catalog as this program talks to it: every request is bounded in time, and those that change nothing are repeated."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pyiceberg.catalog.rest import RestCatalog
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from target_iceberg.load_plan import CA_BUNDLE

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

TIMEOUT_S = (10.0, float(os.environ.get("DATIVO_REQUEST_TIMEOUT_S") or 120))
"""To connect, and to wait for an answer."""
RETRIES = Retry(
    total=6, backoff_factor=0.2, backoff_max=5, backoff_jitter=0.3, status_forcelist=(429, 502, 503, 504),
    allowed_methods=("GET", "HEAD"), raise_on_status=False,
)  # fmt: skip
"""Of requests that change nothing. Whoever changes something finds out what became of it before trying again."""


class BoundedAdapter(HTTPAdapter):
    """Gives every request a time limit.

    Args:
        verify: certificates to trust; None: the system's, or those that the environment names.
    """

    def __init__(self, verify: str | None = None) -> None:
        super().__init__(max_retries=RETRIES)
        self._verify = verify

    def send(self, request: PreparedRequest, **options: Any) -> Response:  # type: ignore[override]
        """As HTTPAdapter."""
        options["timeout"] = options.get("timeout") or TIMEOUT_S
        if self._verify is not None:  # requests lets the environment win over its session
            options["verify"] = self._verify
        return super().send(request, **options)


class BoundedRestCatalog(RestCatalog):
    """As RestCatalog."""

    def _adapter(self, verify: str | None) -> HTTPAdapter:
        return BoundedAdapter(verify)

    def _create_session(self) -> Session:
        session = super()._create_session()
        adapter = self._adapter(self.properties.get(CA_BUNDLE))
        for scheme in ("http://", "https://"):
            session.mount(scheme, adapter)
        return session
