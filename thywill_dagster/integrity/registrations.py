"""Who joined when, and on whose invitation: registration lines and token rows to one answer per user.

Witnesses, best first: the monthly activity file, which no repair tool ever wrote; the registration file, in
which the application's heal tool wrote ``joined directly`` at the time of healing for everybody it thought
unregistered; the row of the invite token. An invitation beats such a ``directly``; two different inviters are
a contradiction, and nothing is decided.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from thywill_dagster.archives.names import REGISTRATION_PHRASES
from thywill_dagster.identity.normalise import lookup_key, normalise_in_place
from thywill_dagster.integrity.columns import minutes_of
from thywill_dagster.integrity.relations import SYSTEM

INVITATION_PHRASES = tuple(invited for _, invited in REGISTRATION_PHRASES.values())

NEAR_MINUTES = 1
SAME_DAY_MINUTES = 15 * 60
"""A registration time and the user's ``created_at`` may be on clocks as far apart as any two zones."""


@dataclass(frozen=True, slots=True)
class RegistrationLine:
    """One line: its minute, the name as written, the inviter ("" for directly), where it stands."""

    minute: int
    name: str
    inviter: str
    source: str
    path: str
    line: int
    is_ambiguous: bool

    @property
    def evidence(self) -> str:
        """``path:line``."""
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Origin:
    """How a user came.

    Attributes:
        inviter: person who invited, "" for a direct registration, None if nothing says so.
        is_root: the best evidence is a direct registration or a token of the system.
        evidence: what says so.
        reason: why ``inviter`` is None although there is evidence.
        minute: of the registration, None without a line.
        name: the spelling in the registration line, "" without a line.
        path: the registration file that has the line, "" if none has.
    """

    inviter: str | None
    is_root: bool
    evidence: tuple[str, ...]
    reason: str
    minute: int | None
    name: str
    path: str


class RegistrationBook:
    """All registration lines by lookup key, and all invite tokens."""

    def __init__(
        self,
        registrations: pd.DataFrame,
        tokens: pd.DataFrame,
        person_of: Callable[[str], str],
        user_ids: Collection[str],
    ) -> None:
        """Indexes lines and tokens; tainted lines are left out."""
        self._person_of = person_of
        self._person_of_id: dict[str, str] = {SYSTEM: SYSTEM, **{user_id: user_id for user_id in user_ids}}
        self._lines: dict[str, list[RegistrationLine]] = {}
        for minute, name, inviter, source, path, line, is_tainted, is_ambiguous in zip(
            minutes_of(registrations["at"]).tolist(),
            registrations["name"],
            registrations["inviter"],
            registrations["source"],
            registrations["path"],
            registrations["line"],
            registrations["is_tainted"],
            registrations["is_ambiguous"],
            strict=True,
        ):
            if not is_tainted:
                self._lines.setdefault(lookup_key(name), []).append(
                    RegistrationLine(minute, name, inviter, source, path, line, is_ambiguous)
                )
        for lines in self._lines.values():
            lines.sort(key=lambda line: (line.minute, line.source, line.path, line.line))
        self._creator_of_token: dict[str, str] = {}
        self._tokens_used_by: dict[str, list[str]] = {}
        for token, creator, used_by in zip(
            tokens["token"], tokens["created_by_user"], tokens["used_by_user_id"], strict=True
        ):
            self._creator_of_token[token] = creator or ""
            if used_by:
                self._tokens_used_by.setdefault(used_by, []).append(token)

    def believe_ids(self, persons: Mapping[str, str]) -> None:
        """From now on takes these ids, which no user has, for these persons: tokens name them as creators."""
        self._person_of_id.update(persons)

    def registered_keys(self) -> Sequence[str]:
        """Lookup keys of all registered names, sorted."""
        return sorted(key for key in self._lines if key)

    def lines_of(self, key: str) -> Sequence[RegistrationLine]:
        """The lines of a name, in order of time."""
        return self._lines.get(key, ())

    def registrations_of(self, key: str, spelling: str | None = None) -> list[int]:
        """Minutes at which a name was registered; the two witnesses of one registration count once.

        A later ``joined directly`` that the monthly file does not confirm is no registration: the heal tool
        writes such lines for everybody it thinks unregistered.

        Args:
            key: lookup key of the name.
            spelling: if given and registered, only lines with exactly this spelling count: the application
                merges users whose names it holds for the same, so another spelling is no other person.
        """
        lines = self.lines_of(key)
        if spelling is not None:
            lines = [line for line in lines if line.name == spelling] or lines
        return registrations_among(lines)

    def lines_of_user(
        self, key: str, name: str, created_minute: int | None, *, is_exact_time: bool
    ) -> list[RegistrationLine]:
        """The lines that can be of a user who has a row, not those by which somebody else of the name came.

        A registration after the row was created is another person's; the heal tool may write ``joined directly``
        later, with the exact name. A line with another spelling was written for the row only in its own minute,
        or for a name that the application normalised in place in a row that an import made.

        Args:
            key: lookup key of the display name.
            name: the display name.
            created_minute: of the row, None if unknown.
            is_exact_time: whether the application itself wrote that time.
        """
        lines = self.lines_of(key)
        exact = [line for line in lines if line.name == name]
        if created_minute is None:
            return exact or list(lines)
        earlier = [line for line in lines if line.minute <= created_minute + SAME_DAY_MINUTES]
        own = [line for line in exact if line in earlier or not _is_the_applications(line, exact)]
        if own:
            return own
        return [
            line
            for line in earlier
            if abs(line.minute - created_minute) <= NEAR_MINUTES
            or (not is_exact_time and normalise_in_place(line.name) == name)
        ]

    def is_confirmed(self, key: str) -> bool:
        """Whether a line of the name is one that no repair tool writes: an invitation, or a monthly line."""
        return any(line.inviter or line.source == "monthly_activity" for line in self.lines_of(key))

    def is_told_clearly(self, key: str) -> bool:
        """Whether a line of the name can be read in one way only.

        A line whose name holds the phrase itself was divided by the names that are known; if somebody is gone,
        that may have been the wrong place.
        """
        return any(
            not line.is_ambiguous and not any(phrase in line.name for phrase in INVITATION_PHRASES)
            for line in self.lines_of(key)
        )

    def token_of(self, user_id: str) -> str | None:
        """The invite token that a user row used, if exactly one says so."""
        tokens = self._tokens_used_by.get(user_id, [])
        return tokens[0] if len(tokens) == 1 else None

    def origin_of(
        self,
        of_name: Sequence[RegistrationLine],
        user_id: str = "",
        token: str | None = None,
        created_minute: int | None = None,
    ) -> Origin:
        """How the user came, by all witnesses.

        Args:
            of_name: the lines of the user's name, in order of time.
            user_id: the user's id, to find the token that was used by it.
            token: the token that the user row names.
            created_minute: of the user row; chooses between several registrations of the name.
        """
        lines = _lines_of_registration(of_name, created_minute)
        invitations = [line for line in lines if line.inviter]
        # A line that can be split in several ways says that there was an invitation, not by whom.
        clear = [line for line in invitations if not line.is_ambiguous]
        inviters = {self._person_of(line.inviter) for line in clear}
        creator = self._token_creator(user_id, token)
        evidence = [line.evidence for line in (clear or invitations or lines)]
        if creator is not None and (creator != SYSTEM or not inviters):
            evidence.append(f"database:invitetoken of user/{user_id}")
        best = min(lines, key=lambda line: (line.source != "monthly_activity", line.minute), default=None)
        first = lines[0] if lines else None
        minute = first.minute if first else None
        name = first.name if first else ""
        files = find_clear_files(lines, created_minute)
        path = next((line.path for line in lines if line.source == "users_file" and line.path in files), "")

        def answer(inviter: str | None, is_root: bool = False, reason: str = "") -> Origin:
            return Origin(inviter, is_root, tuple(evidence), reason, minute, name, path)

        if creator is not None and creator != SYSTEM and not inviters:
            if best is None or best.inviter or not self._is_original(best, created_minute):
                return answer(creator)
            return answer(None, False, "the line says directly, the invite token names an inviter")
        if len(inviters) > 1:
            return answer(None, False, "the witnesses name different inviters")
        if inviters:
            (inviter,) = inviters
            if creator is not None and creator not in (SYSTEM, inviter):
                return answer(None, False, "the line and the invite token name different inviters")
            if best is not None and best.source == "monthly_activity" and not best.inviter and not best.is_ambiguous:
                return answer(None, False, "the monthly file says directly, the registration file an invitation")
            return answer(inviter)
        if invitations:
            return answer(None, False, "the line can be split into name and inviter in several ways")
        if creator == SYSTEM:
            return answer("", True)
        if best is not None and self._is_original(best, created_minute):
            return answer("", True)
        return answer(None, False, "" if not lines else "only a line that was written when archives were healed")

    def _token_creator(self, user_id: str, token: str | None) -> str | None:
        """The person who made the token; an id that leads to nobody is no witness."""
        tokens = {token} if token in self._creator_of_token else set(self._tokens_used_by.get(user_id, []))
        creators = {self._person_of_id.get(self._creator_of_token[t], "") for t in tokens if t}
        return creators.pop() or None if len(creators) == 1 else None

    def _is_original(self, line: RegistrationLine, created_minute: int | None) -> bool:
        """Whether a ``directly`` was written at registration, not when archives were healed."""
        if line.source == "monthly_activity" or created_minute is None:
            return True
        return abs(line.minute - created_minute) <= SAME_DAY_MINUTES


def find_clear_files(lines: Sequence[RegistrationLine], came_at: int | None = None) -> frozenset[str]:
    """The registration files among these lines of a name.

    A line that can be split in several ways may be another's, unless a clear one tells of the same minute, or the user
    came in that minute: there is one file for each month, whosever the line is.

    Args:
        lines: of the name.
        came_at: the minute in which the user came, if it is known.
    """
    clear = {line.minute for line in lines if not line.is_ambiguous} | ({came_at} if came_at is not None else set())
    near = {minute + other for minute in clear for other in range(-NEAR_MINUTES, NEAR_MINUTES + 1)}
    return frozenset(line.path for line in lines if line.source == "users_file" and line.minute in near)


def registrations_among(lines: Sequence[RegistrationLine]) -> list[int]:
    """Minutes at which one name was registered, see :meth:`RegistrationBook.registrations_of`."""
    minutes: list[int] = []
    for line in lines:
        if minutes and (line.minute - minutes[-1] <= NEAR_MINUTES or not _is_the_applications(line, lines)):
            continue
        minutes.append(line.minute)
    return minutes


def _is_the_applications(line: RegistrationLine, lines: Sequence[RegistrationLine]) -> bool:
    """Whether no repair tool can have written a line: an invitation, or told by the monthly file as well."""
    return bool(line.inviter) or any(
        other.source == "monthly_activity" and abs(other.minute - line.minute) <= NEAR_MINUTES for other in lines
    )


def _lines_of_registration(lines: Sequence[RegistrationLine], created_minute: int | None) -> Sequence[RegistrationLine]:
    """The lines of one registration: the one at ``created_minute``; of all if that fits none of several."""
    if created_minute is not None:
        for tolerance in (NEAR_MINUTES, SAME_DAY_MINUTES):
            if near := [line for line in lines if abs(line.minute - created_minute) <= tolerance]:
                return near
        if len(starts := registrations_among(lines)) > 1:
            return [line for line in lines if any(abs(line.minute - start) <= NEAR_MINUTES for start in starts)]
    if not lines:
        return ()
    start = ([line for line in lines if line.inviter] or lines)[0].minute
    return [line for line in lines if abs(line.minute - start) <= NEAR_MINUTES]
