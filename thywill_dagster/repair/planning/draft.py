"""What the parts of a plan share while it is made: the site, what was found, and what is proposed so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from thywill_dagster.identity.username_mapping import CONFLICT
from thywill_dagster.integrity.columns import NO_MINUTE
from thywill_dagster.integrity.detection import PATH_TABLES, Detection
from thywill_dagster.integrity.paths import common_style, files_by_prayer
from thywill_dagster.integrity.reconciliation import ONE_DAY, Reconciliation
from thywill_dagster.integrity.registrations import Origin
from thywill_dagster.integrity.site import SiteView
from thywill_dagster.repair.actions import Action

Cell = tuple[str, str, str]
"""Table, primary key, column."""

REGISTERED_LATER = "the user of this name was registered later: another person may have had the name before"

NAMESAKES_LINES = "all registration lines of this name are older than the user: they may be of another person"

MODEL_DEFAULTS: Mapping[tuple[str, str], int] = {
    ("user", "welcome_message_dismissed"): 0,
    ("prayer", "flagged"): 0,
    ("prayer", "is_foundational"): 0,
}
"""Values that the application's model, not the schema, gives to new rows."""


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column as declared: whether NULL is allowed and whether it has a default."""

    name: str
    nullable: bool
    has_default: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is planned beside the repair of what is there.

    Attributes:
        insert_missing: rows that only the archives have.
        merge_duplicates: users that the application holds for the same.
        add_indexes: an index on the usernames where there is none.
        expected_users: lifts the cap on users who come back to exactly this number.
        expected_rows: lifts the cap on other inserted rows to exactly this number.
        expected_overwrites: lifts the cap on resolving references that change to exactly this number.
    """

    insert_missing: bool = False
    merge_duplicates: bool = False
    add_indexes: bool = False
    expected_users: int | None = None
    expected_rows: int | None = None
    expected_overwrites: int | None = None


@dataclass(frozen=True, slots=True)
class Returning:
    """A former user who is to come back.

    Attributes:
        user_id: the id.
        action: what brings the user back.
        minute: since when the user was there: registered then, or of the first row that tells of the user.
        origin: how the user came.
    """

    user_id: str
    action: Action
    minute: int
    origin: Origin

    def why_not_of(self, minute: int) -> str:
        """Why a row of this time may be about another person of the same name; empty if it cannot."""
        registered = self.origin.minute
        if registered is None or minute == NO_MINUTE or registered <= minute + ONE_DAY:
            return ""
        return REGISTERED_LATER


@dataclass
class Draft:
    """A plan in the making.

    Attributes:
        site: what was looked at.
        detection: what was found.
        columns: table to its columns; only of tables that rows are inserted into.
        options: what else is planned.
        actions: the proposed changes, parents before children.
        returning: person to the former user.
        healed: cells that are right again as soon as another action is done, to the reason if that needs review.
        reasons: cells for which nothing is proposed, to the reason.
        inviters: user id to inviter id, as it will be.
        merging: id of a user who is merged away in this plan to that of the user who stays.
    """

    site: SiteView
    detection: Detection
    columns: Mapping[str, Sequence[TableColumn]]
    options: Options
    actions: list[Action] = field(default_factory=list)
    returning: dict[str, Returning] = field(default_factory=dict)
    healed: dict[Cell, str] = field(default_factory=dict)
    reasons: dict[Cell, str] = field(default_factory=dict)
    inviters: dict[str, str] = field(default_factory=dict)
    merging: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        users = self.site.tables["user"]
        known = self.site.display_names
        self.inviters = {
            user: inviter
            for user, inviter in zip(users["id"], users["invited_by_user_id"], strict=True)
            if inviter in known
        }

    @property
    def reconciliation(self) -> Reconciliation:
        """What the evidence says about lost references."""
        return self.detection.reconciliation

    @property
    def findings(self) -> pd.DataFrame:
        """What was found."""
        return self.detection.findings

    @cached_property
    def named_persons(self) -> frozenset[str]:
        """The persons whom lost references name."""
        return frozenset(lost.person for lost in self.reconciliation.lost if lost.person)

    @cached_property
    def users_with_token(self) -> frozenset[str]:
        """Users whose rows name the token that they registered with."""
        users = self.site.tables["user"]
        return frozenset(user for user, token in zip(users["id"], users["invite_token_used"], strict=True) if token)

    @cached_property
    def style(self) -> str:
        """What stands before a path inside the archive in the healthy rows."""
        counts: Counter[str] = Counter()
        for table, _ in PATH_TABLES:
            counts.update(self.site.count_paths(table))
        return common_style(self.site.paths, counts)

    @cached_property
    def prayer_files(self) -> Mapping[str, tuple[str, ...]]:
        """Prayer id to the files whose header has it."""
        prayers = self.site.records.prayers
        return files_by_prayer(prayers["prayer_id"].tolist(), prayers["path"].tolist())

    @cached_property
    def _kinds(self) -> Mapping[Cell, str]:
        columns = (self.findings[name].to_numpy(dtype=object).tolist() for name in ("table", "primary_key", "column"))
        kinds = self.findings["kind"].to_numpy(dtype=object).tolist()
        return dict(zip(zip(*columns, strict=True), kinds, strict=True))

    def kind_of(self, table: str, shown_key: str, column: str, default: str = "") -> str:
        """The kind of the finding on a cell; the key is as it may be shown."""
        return self._kinds.get((table, shown_key, column), default)

    def of_kind(self, *kinds: str) -> pd.DataFrame:
        """The findings of these kinds."""
        return self.findings[self.findings["kind"].isin(kinds)]

    def leave(self, cell: Cell, reason: str) -> None:
        """Nothing is proposed for this cell."""
        self.reasons[cell] = reason

    def heal(self, cell: Cell, user: Returning) -> None:
        """This cell needs no change of its own: its user comes back."""
        self.healed[cell] = (
            f"the {user.action.action} of user {user.user_id} needs review" if user.action.reason else ""
        )

    @cached_property
    def _offsets(self) -> frozenset[int]:
        return self.reconciliation.offsets

    def why_not_of_registration(self, user_id: str) -> str:
        """Why the registration lines of a user's name may be another person's; empty if nothing says so."""
        if user_id in self.site.display_names and self.site.is_only_told_of_before(user_id, self._offsets):
            return NAMESAKES_LINES
        return ""

    def who_stays(self, user_id: str) -> str:
        """The user who will be there under this id, or who stays when it is merged away."""
        return self.merging.get(user_id, user_id)

    def who_remains(self, namesakes: str) -> str:
        """The one user of a name that several have, if this plan merges them into one; empty otherwise."""
        if not namesakes:
            return ""
        remaining = {
            self.who_stays(user_id) for user_id in self.site.mapping.by_key.get(namesakes[len(CONFLICT) :], ())
        }
        return remaining.pop() if len(remaining) == 1 else ""

    def why_not_survivor(self, user_id: str, minute: int) -> str:
        """Why a row of this time may be about another person of the same name; empty if it cannot."""
        if minute == NO_MINUTE:
            return ""
        presence = self.site.earliest_presence[user_id]
        if presence > minute + ONE_DAY:
            return REGISTERED_LATER
        if any(presence + ONE_DAY < again <= minute for again in self.site.registrations_of(user_id)):
            return "the name was registered again before this row: it may be about another person"
        return ""
