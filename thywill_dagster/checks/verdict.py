"""How a check says what it found: offenders, their true number, and the command to run next."""

from collections.abc import Sequence

import dagster as dg

OFFENDERS_SHOWN = 20

ERROR = dg.AssetCheckSeverity.ERROR
WARN = dg.AssetCheckSeverity.WARN


def verdict(
    spec: dg.AssetCheckSpec,
    offenders: Sequence[str],
    *,
    examined: int,
    unit: str,
    next_step: str,
    total: int | None = None,
    severity: dg.AssetCheckSeverity = ERROR,
) -> dg.AssetCheckResult:
    """The result of one check.

    Args:
        spec: the check.
        offenders: row ids, paths or lines, never texts or names; the first ones are shown.
        examined: how many things were looked at; if there were none, the check does not pass.
        unit: what was looked at, in the plural.
        next_step: the command that shows or repairs the offenders.
        total: number of offenders if ``offenders`` holds only some.
        severity: of a failure.
    """
    count = len(offenders) if total is None else total
    shown = list(offenders[:OFFENDERS_SHOWN])
    if not examined:
        description, severity = f"There were no {unit} to look at, so nothing is known.", WARN
    elif count:
        description = f"{count} of {examined} {unit} are not right. Next: {next_step}"
    else:
        description = f"All {examined} {unit} are right."
    passed = bool(examined) and not count
    metadata: dict[str, int | str | dg.JsonMetadataValue] = {"offenders": count, "examined": examined}
    if not passed:
        metadata |= {"first_offenders": dg.MetadataValue.json(shown), "next_step": next_step}
    return dg.AssetCheckResult(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=passed,
        severity=severity,
        description=description,
        metadata=metadata,
    )
