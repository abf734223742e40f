"""Names inside lines: unescaped, possibly with line breaks or with the very words that end an entry.

Shared by the readers of prayer files, monthly files and registration files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

USERS_FILE = "users_file"
MONTHLY_ACTIVITY = "monthly_activity"

REGISTRATION_PHRASES: Mapping[str, tuple[str, str]] = {
    USERS_FILE: (" joined directly", " joined on invitation from "),
    MONTHLY_ACTIVITY: (" registered directly", " registered via invitation from "),
}
"""Source of a registration to what stands behind a name that nobody invited, and before an inviter."""

Reading = tuple[str, str]
"""Name and inviter; the inviter is empty for a direct registration."""


def join_broken_name(
    rest: str, lines: Sequence[str], index: int, broken_names: Mapping[str, Sequence[Sequence[str]]]
) -> tuple[str, int] | None:
    """Puts an entry together whose name is known to hold a line break.

    Args:
        rest: the entry's first line behind its time.
        lines: all lines of the file.
        index: of the line behind the first.
        broken_names: see :attr:`thywill_dagster.archives.model.ReadingContext.broken_names`.

    Returns:
        The whole entry behind its time, and how many further lines it takes; None if no such name stands here.
    """
    for name in broken_names.get(rest, ()):
        extra = len(name) - 1
        following = lines[index : index + extra]
        if len(following) == extra and list(following[:-1]) == list(name[1:-1]) and following[-1].startswith(name[-1]):
            return "\n".join((rest, *following)), extra
    return None


def join_broken_inviter(
    inviter: str, lines: Sequence[str], index: int, broken_names: Mapping[str, Sequence[Sequence[str]]]
) -> tuple[str, int] | None:
    """Puts an inviter's name together that is known to hold a line break; nothing stands behind an inviter.

    Args:
        inviter: what stands on the entry's last line.
        lines: all lines of the file.
        index: of the line behind that.
        broken_names: see :attr:`thywill_dagster.archives.model.ReadingContext.broken_names`.

    Returns:
        The whole name, and how many further lines it takes; None if no such name stands here.
    """
    for name in broken_names.get(inviter, ()):
        extra = len(name) - 1
        if list(lines[index : index + extra]) == list(name[1:]):
            return "\n".join(name), extra
    return None


def read_registration(
    rest: str, directly: str, invited: str, is_known: Callable[[str], bool]
) -> tuple[str, str, bool] | None:
    """Splits ``NAME directly`` or ``NAME invited NAME``, where either name may contain either phrase.

    Args:
        rest: the entry behind its time.
        directly: what ends a direct registration.
        invited: what stands between name and inviter.
        is_known: whether the database has a user of that name; asked only where it decides.

    Returns:
        Name, inviter, and whether several readings are possible. Then the known names choose one, and prove
        nothing: the line may have registered somebody who is gone. None if there is no reading with the names that
        it needs.
    """
    readings: list[Reading] = []
    if rest.endswith(directly) and len(rest) > len(directly):
        readings.append((rest[: -len(directly)], ""))
    start = rest.find(invited)
    while start != -1:
        name, inviter = rest[:start], rest[start + len(invited) :]
        if name and inviter:
            readings.append((name, inviter))
        start = rest.find(invited, start + 1)
    if not readings:
        return None
    if len(readings) == 1:
        return (*readings[0], False)
    ranks = [sum(is_known(name) for name in reading) + (not reading[1]) for reading in readings]
    return (*readings[ranks.index(max(ranks))], True)
