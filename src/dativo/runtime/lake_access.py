"""Lake catalogs and load plans as a command opens them: variables expanded for one job, paths below the project."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from dativo.config.places import known_tenants, warehouse_problem
from dativo.config.project import Project
from dativo.errors import DativoError
from target_iceberg import load_plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from target_iceberg.load_plan import LakeCatalog, LoadPlan


def catalog_here(plan: LoadPlan, *, root: Path, variables: Mapping[str, str]) -> LakeCatalog:
    """The plan's lake catalog with nothing left to look up; the process environment plays no part, so tenants cannot mix.

    Raises:
        DativoError: lists variables without a value, or what they make of a place is not the tenant's own.
    """
    catalog = plan.catalog
    try:
        properties = {k: load_plan.expand(v, variables) for k, v in catalog.properties.items()}
        path = None if catalog.path is None else str(root / load_plan.expand(catalog.path, variables))
    except load_plan.LoadPlanError as e:
        raise DativoError(str(e), "set them in the environment or below secrets/<tenant>/") from e
    if load_plan.CA_BUNDLE in properties:
        properties[load_plan.CA_BUNDLE] = str(root / properties[load_plan.CA_BUNDLE])
    if catalog.kind in ("embedded", "files") and "warehouse" in properties:
        tenants = known_tenants(Project(root))
        if (problem := warehouse_problem(plan.tenant, tenants, properties["warehouse"])) is not None:
            raise DativoError(
                f"{plan.tenant}/{plan.job}: the place of the files is not this tenant's: {problem}",
                "look at the variables in target.connection and target.warehouse",
            )
    return msgspec.structs.replace(catalog, path=path, properties=properties)


def plan_here(plan: LoadPlan, *, root: Path, variables: Mapping[str, str]) -> LoadPlan:
    """The load plan with such a lake catalog."""
    return msgspec.structs.replace(plan, catalog=catalog_here(plan, root=root, variables=variables))


@contextmanager
def lake_problems() -> Iterator[None]:
    """Errors of the lake as errors that a user can act on."""
    from target_iceberg.errors import TargetError

    try:
        yield
    except TargetError as e:
        raise DativoError(str(e)) from e
