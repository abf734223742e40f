"""Plans on disk: immutable, named by their content, one folder each.

``DATA_DIR/plans/PLAN_ID/`` holds ``plan.json`` (what the plan was made for), ``actions.jsonl`` (one action per
line, in order) and what was rendered for people. A plan that was changed on disk does not have its name any
more and is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from thywill_dagster.errors import CouldNotLookError, RefusedError, UsageError
from thywill_dagster.repair.actions import Action, Plan, action_lines
from thywill_dagster.repair.plan import Proposal, Unresolved

PLAN_FILE = "plan.json"
ACTIONS_FILE = "actions.jsonl"
UNRESOLVED_FILE = "unresolved.jsonl"

_PLAN_ID = re.compile(r"[0-9a-f]{64}")


def plan_folder(data_dir: Path, plan_id: str) -> Path:
    """The folder of a plan.

    Raises:
        UsageError: the text is no plan id; a path in its place would lead out of the data directory.
    """
    if not _PLAN_ID.fullmatch(plan_id):
        raise UsageError(f"{plan_id!r} is no plan id: it is the 64 hex digits that the dry run printed")
    return data_dir / "plans" / plan_id


def write_plan(data_dir: Path, proposal: Proposal) -> Path:
    """Stores a plan and what it leaves open.

    The actions of a plan that is already there stay as they are: its name is their hash. What it was made for is
    renewed, because the same plan made again is as fresh as the look that it was made from.

    Returns:
        The folder.
    """
    plan = proposal.plan
    folder = plan_folder(data_dir, plan.plan_id)
    make_private_folder(folder)
    open_findings = (
        json.dumps({name: getattr(u, name) for name in Unresolved.__dataclass_fields__}, ensure_ascii=False) + "\n"
        for u in proposal.unresolved
    )
    if not (folder / PLAN_FILE).exists():
        write_private(folder / ACTIONS_FILE, action_lines(plan.actions))
    write_private(folder / UNRESOLVED_FILE, open_findings)
    # Last, because a folder with this file is complete.
    _write_header(folder, plan, plan.plan_id)
    return folder


def _write_header(folder: Path, plan: Plan, plan_id: str) -> None:
    header = {
        "plan_id": plan_id,
        "schema_fingerprint": plan.schema_fingerprint,
        "decisions_fingerprint": plan.decisions_fingerprint,
        "rules_version": plan.rules_version,
        "provenance": dict(plan.provenance),
    }
    write_private(folder / PLAN_FILE, json.dumps(header, ensure_ascii=False, indent=1) + "\n")


def renew_plan(data_dir: Path, plan_id: str, *, database: str, taken_at: datetime) -> None:
    """Notes that the stored plan is what a look at this database at this later time would plan again.

    Raises:
        UsageError: there is no such plan.
        RefusedError: its content does not match its id.
    """
    plan = read_plan(data_dir, plan_id)
    folder = plan_folder(data_dir, plan_id)
    renewed = {**plan.provenance, "database": database, "taken_at": taken_at.isoformat()}
    _write_header(folder, replace(plan, provenance=renewed), plan_id)


def read_plan(data_dir: Path, plan_id: str) -> Plan:
    """The stored plan of that id.

    Raises:
        UsageError: there is none.
        RefusedError: its content does not match its id.
    """
    folder = plan_folder(data_dir, plan_id)
    if not (folder / PLAN_FILE).exists():
        raise UsageError(f"there is no plan {plan_id} in {data_dir / 'plans'}; make one with a dry run")
    try:
        header = json.loads((folder / PLAN_FILE).read_text(encoding="utf-8"))
        plan = Plan(
            actions=tuple(_read_actions(folder / ACTIONS_FILE)),
            schema_fingerprint=header["schema_fingerprint"],
            decisions_fingerprint=header["decisions_fingerprint"],
            rules_version=header["rules_version"],
            provenance=header["provenance"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RefusedError(f"the plan in {folder} cannot be read ({error}); make it again") from error
    if plan.plan_id != plan_id:
        raise RefusedError(f"the plan in {folder} was changed after it was made; make it again")
    return plan


def list_plans(data_dir: Path, database: str) -> Sequence[str]:
    """Ids of the stored plans that were made for a database, the newest look first.

    Args:
        data_dir: the data directory.
        database: as the plans name it, without a password.
    """
    found = []
    for header in (data_dir / "plans").glob(f"*/{PLAN_FILE}"):
        try:
            provenance = json.loads(header.read_text(encoding="utf-8"))["provenance"]
            if provenance.get("database") == database and _PLAN_ID.fullmatch(header.parent.name):
                found.append((str(provenance["taken_at"]), header.parent.name))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return [plan_id for _, plan_id in sorted(found, reverse=True)]


def read_unresolved(data_dir: Path, plan_id: str) -> Sequence[Unresolved]:
    """What the stored plan leaves open; empty if there is nothing or no such plan."""
    path = plan_folder(data_dir, plan_id) / UNRESOLVED_FILE
    if not path.exists():
        return ()
    return tuple(Unresolved(**json.loads(line)) for line in path.read_text(encoding="utf-8").split("\n") if line)


def make_private_folder(folder: Path) -> None:
    """Creates a folder, and those above it, for this user only.

    Raises:
        CouldNotLookError: it cannot be created.
    """
    try:
        for parent in reversed((folder, *folder.parents)):
            if not parent.exists():
                parent.mkdir(mode=0o700)
    except OSError as error:
        raise CouldNotLookError(f"{folder} cannot be created ({error.strerror}); check --data-dir") from error


def keep_newest(folder: Path, pattern: str, number: int) -> None:
    """Removes the files of a folder that fit the pattern, but for so many that were written last."""
    newest_first = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for old in newest_first[number:]:
        old.unlink(missing_ok=True)


def write_private(path: Path, content: str | Iterable[str]) -> None:
    """Writes a file (mode 0600) whole or not at all.

    Args:
        path: the file.
        content: a text, or its pieces.

    Raises:
        CouldNotLookError: it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        partial.touch(mode=0o600)
        partial.chmod(0o600)
        with partial.open("w", encoding="utf-8") as file:
            file.writelines([content] if isinstance(content, str) else content)
        partial.replace(path)
    except OSError as error:
        raise CouldNotLookError(
            f"{path} cannot be written ({error.strerror}); look at the space and the permissions of --data-dir"
        ) from error


def _read_actions(path: Path) -> Iterator[Action]:
    # Only LF ends a line: names may hold other line separators.
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            yield Action.from_json(json.loads(line))
