"""Small archive trees on disk, written as the application writes them and read by the real parser."""

from datetime import datetime
from pathlib import Path

import pandas as pd

from thywill_dagster.archives.inventory import take_inventory
from thywill_dagster.archives.model import ArchiveRecords, ReadingContext
from thywill_dagster.archives.parser import parse_archives


class ArchiveTree:
    """One month of archives, June 2025; ``at`` is ``DD HH:MM``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._users = ["User Registrations for June 2025", ""]
        self._days: dict[str, list[str]] = {}
        self._prayers = 0
        (root / "users").mkdir(parents=True)
        (root / "activity").mkdir()

    def register(self, at: str, name: str, inviter: str = "", *, monthly: bool = True, users: bool = True) -> None:
        """A registration, in both files unless told otherwise."""
        if users:
            how = f"joined on invitation from {inviter}" if inviter else "joined directly"
            self._users.append(f"June {at[:2]} 2025 at {at[3:]} - {name} {how}")
        if monthly:
            how = f"registered via invitation from {inviter}" if inviter else "registered directly"
            self.monthly(at, f"{name} {how}")

    def monthly(self, at: str, text: str) -> None:
        """A line of the monthly file."""
        self._days.setdefault(at[:2], []).append(f"{at[3:]} - {text}")

    def pray(self, at: str, author: str, *prayed: tuple[str, str]) -> str:
        """A prayer file with marks of ``(at, name)``; returns its path."""
        self._prayers += 1
        path = self.root / f"prayers/2025/06/2025_06_{at[:2]}_prayer_at_{at[3:5]}{at[6:]}_{self._prayers + 1}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            f"Prayer {self._prayers:032x} by {author}",
            f"Submitted June {at[:2]} 2025 at {at[3:]}",
            "",
            "Text",
            "",
        ]
        lines += ["Activity:", *(f"June {a[:2]} 2025 at {a[3:]} - {name} prayed this prayer" for a, name in prayed)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return str(path.relative_to(self.root))

    def read(self, names: frozenset[str] = frozenset()) -> ArchiveRecords:
        """What the parser makes of it."""
        (self.root / "users/2025_06_users.txt").write_text("\n".join(self._users) + "\n", encoding="utf-8")
        lines = ["Activity for June 2025", ""]
        for day, found in sorted(self._days.items()):
            lines += ["", f"June {day} 2025", *found]
        (self.root / "activity/activity_2025_06.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return parse_archives(take_inventory(self.root), ReadingContext(names=names))


def users_of(*users: tuple[str, str, str]) -> pd.DataFrame:
    """Rows of table user: id, name, ``DD HH:MM`` of creation."""
    rows = [(user_id, name, f"2025-06-{at[:2]} {at[3:]}:07.123456") for user_id, name, at in users]
    return pd.DataFrame(rows, columns=["id", "display_name", "created_at"])


def minute(at: str) -> int:
    """Minutes since the epoch of ``DD HH:MM``."""
    return int((datetime(2025, 6, int(at[:2]), int(at[3:5]), int(at[6:])) - datetime(1970, 1, 1)).total_seconds()) // 60
