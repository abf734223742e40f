"""Answers of dry runs, kept for as long as nothing that they depend on changes.

A dry run is deterministic: the same database, archives, decisions and options give the same plan, byte for byte. So
if all of these are as they were, the plan that lies in the data directory is the one that would be made again. What
an answer depends on is hashed into its key; an answer that was changed on the disk is not believed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from thywill_dagster import chain, looking
from thywill_dagster.archives.model import ArchiveRecords
from thywill_dagster.reading_context import reading_context_key
from thywill_dagster.repair.actions import RULES_VERSION
from thywill_dagster.repair.plan_files import keep_newest, make_private_folder, write_private
from thywill_dagster.settings import SiteSettings
from thywill_dagster.store.snapshot import Snapshot

KEPT = 8
"""Answers of one site that are kept, newest first: as many ways of asking the same."""


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """What a dry run answered.

    Attributes:
        content: the object that was printed.
        exit_status: with which it ended.
        look: path of the look that was stored for the history.
    """

    content: Mapping[str, Any]
    exit_status: int
    look: str


def answer_key(
    settings: SiteSettings,
    snapshot: Snapshot,
    records: ArchiveRecords,
    options: chain.PlanOptions,
    selection: chain.Selection,
) -> str:
    """Equal for dry runs that give the same answer, however long one is after the other.

    Time decides only about what is too young to be judged; an answer that left anything out for that reason is
    never kept.
    """
    depends_on = [
        snapshot.content_sha256,
        snapshot.source,
        looking.archives_fingerprint(records),
        reading_context_key(settings, snapshot),
        looking.load_decisions(settings).fingerprint,
        settings.archive_timezone,
        asdict(options),
        selection.arguments(),
        RULES_VERSION,
        _fingerprint_of_code(),
    ]
    return hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()


def recall_answer(folder: Path, key: str) -> KnownAnswer | None:
    """The answer of that key, if it is there as it was written."""
    try:
        digest, _, text = (folder / f"{key}.json").read_text(encoding="utf-8").partition("\n")
        if hashlib.sha256(text.encode()).hexdigest() != digest:
            return None
        return KnownAnswer(**json.loads(text))
    except (OSError, ValueError, TypeError):
        return None


def keep_answer(folder: Path, key: str, answer: KnownAnswer) -> None:
    """Keeps an answer, for this user only, and lets go of the oldest ones."""
    make_private_folder(folder)
    text = json.dumps(asdict(answer), ensure_ascii=False)
    write_private(folder / f"{key}.json", hashlib.sha256(text.encode()).hexdigest() + "\n" + text)
    keep_newest(folder, "*.json", KEPT)


@lru_cache(maxsize=1)
def _fingerprint_of_code() -> str:
    """Of this installation: another version of the rules may answer otherwise."""
    root = Path(__file__).parent
    states = [(str(path.relative_to(root)), path.stat()) for path in sorted(root.rglob("*.py"))]
    content = "".join(f"{name} {state.st_size} {state.st_mtime_ns}\n" for name, state in states)
    return hashlib.sha256(content.encode()).hexdigest()
