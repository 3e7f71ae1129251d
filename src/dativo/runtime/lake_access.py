"""Lake catalogs and load plans as a command opens them: variables expanded for one job, paths below the project."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from dativo.errors import DativoError
from target_iceberg import load_plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from target_iceberg.load_plan import LakeCatalog, LoadPlan


def catalog_here(catalog: LakeCatalog, *, root: Path, variables: Mapping[str, str]) -> LakeCatalog:
    """The lake catalog with nothing left to look up; the process environment plays no part, so tenants cannot mix.

    Raises:
        DativoError: lists variables without a value.
    """
    try:
        return msgspec.structs.replace(
            catalog,
            path=None if catalog.path is None else str(root / load_plan.expand(catalog.path, variables)),
            properties={k: load_plan.expand(v, variables) for k, v in catalog.properties.items()},
        )
    except load_plan.LoadPlanError as e:
        raise DativoError(str(e), "set them in the environment or below secrets/<tenant>/") from e


def plan_here(plan: LoadPlan, *, root: Path, variables: Mapping[str, str]) -> LoadPlan:
    """The load plan with such a lake catalog."""
    return msgspec.structs.replace(plan, catalog=catalog_here(plan.catalog, root=root, variables=variables))


@contextmanager
def lake_problems() -> Iterator[None]:
    """Errors of the lake as errors that a user can act on."""
    from target_iceberg.errors import TargetError

    try:
        yield
    except TargetError as e:
        raise DativoError(str(e)) from e
