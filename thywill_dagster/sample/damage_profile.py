"""How much of which damage a sample site gets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

Amount = int | float
"""An int is a number of rows, a float a share of the rows there are. Never more than there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DamageProfile:
    """How much of each kind of damage.

    The names of the kinds are the names of the fields, except where the explanation gives others.

    Attributes:
        deleted_users: users whose row is deleted, while everything that refers to them stays: kind
            ``user_deleted``, and ``deleted_author_ref``, ``deleted_mark_ref``, ... for each reference.
        deleted_lurkers: deleted users whom nothing refers to: kind ``lurker_deleted``. Their name can be had
            again, their id cannot.
        merged_users: users deleted as a case or space variant of an older one: kind ``user_merged``, and
            ``deleted_duplicate_author_ref``, ... for each reference. The right user is the older one.
        author_null: prayers whose author is NULL.
        author_text_none: prayers whose author is the text ``None``.
        author_empty: prayers whose author is the empty string.
        author_dangling: prayers whose author is an id of no user, each an id of its own.
        author_dangling_shared: prayers whose author is an id of no user that stands on rows of several users.
        mark_user_null: marks whose user is NULL.
        mark_user_text_none: marks whose user is the text ``None``.
        mark_user_empty: marks whose user is the empty string.
        mark_user_dangling: marks whose user is an id of no user, each an id of its own.
        mark_user_dangling_shared: marks with one of the ids of ``author_dangling_shared``.
        log_user_twin: of the marks that lost their user, those whose ``prayed`` log row carries the same
            wrong value.
        inviter_null: users who lost their inviter; those whose inviter was deleted come first.
        inviter_dangling: users whose inviter is an id of no user.
        mark_path_temp: marks with the path of an unpacked ZIP that is long gone.
        mark_path_absolute: marks with the absolute path on another machine.
        mark_path_other_record: marks with the path of another prayer.
        mark_path_nonexistent: marks with the path of a file that was never there.
        mark_path_placeholder: marks with ``disabled_archive_for_prayer_ID``.
        mark_path_empty: marks whose path is the empty string.
        prayer_path_temp: like ``mark_path_temp``, of prayers.
        prayer_path_nonexistent: like ``mark_path_nonexistent``, of prayers.
        prayer_path_other_record: like ``mark_path_other_record``, of prayers.
        prayer_path_placeholder: like ``mark_path_placeholder``, of prayers.
        prayer_path_empty: like ``mark_path_empty``, of prayers.
        log_path_temp: like ``mark_path_temp``, of log rows.
        attribute_path_null: attributes without a path, which is how the application writes them.
        user_path_null: users without a path.
        healed_prayer_path: prayers without an author for which the application's heal tool wrote a second
            file, by ``Unknown User`` and without activity, and repointed the row to it.
        healed_user_path: users for whom the heal tool added a ``joined directly`` line at the time of
            healing, and repointed the row to that file.
        temp_roots: number of unpacked ZIPs behind the temporary paths.
    """

    deleted_users: Amount = 0
    deleted_lurkers: Amount = 0
    merged_users: Amount = 0
    author_null: Amount = 0
    author_text_none: Amount = 0
    author_empty: Amount = 0
    author_dangling: Amount = 0
    author_dangling_shared: Amount = 0
    mark_user_null: Amount = 0
    mark_user_text_none: Amount = 0
    mark_user_empty: Amount = 0
    mark_user_dangling: Amount = 0
    mark_user_dangling_shared: Amount = 0
    log_user_twin: Amount = 0.5
    inviter_null: Amount = 0
    inviter_dangling: Amount = 0
    mark_path_temp: Amount = 0
    mark_path_absolute: Amount = 0
    mark_path_other_record: Amount = 0
    mark_path_nonexistent: Amount = 0
    mark_path_placeholder: Amount = 0
    mark_path_empty: Amount = 0
    prayer_path_temp: Amount = 0
    prayer_path_nonexistent: Amount = 0
    prayer_path_other_record: Amount = 0
    prayer_path_placeholder: Amount = 0
    prayer_path_empty: Amount = 0
    log_path_temp: Amount = 0
    attribute_path_null: Amount = 0
    user_path_null: Amount = 0
    healed_prayer_path: Amount = 0
    healed_user_path: Amount = 0
    temp_roots: int = 3

    @classmethod
    def production(cls) -> DamageProfile:
        """What the production site of June 2025 had; fits a site of the default size."""
        return cls(
            deleted_users=1,
            author_null=3,
            author_text_none=1,
            author_empty=1,
            author_dangling=2,
            author_dangling_shared=2,
            mark_user_null=8,
            mark_user_text_none=4,
            mark_user_empty=3,
            mark_user_dangling=4,
            mark_user_dangling_shared=4,
            inviter_null=7,
            mark_path_temp=85,
            attribute_path_null=16,
        )

    @classmethod
    def scaled(cls, fraction: float) -> DamageProfile:
        """The kinds of production as shares of a site of any size.

        Args:
            fraction: of the prayers that lose their author, of the marks that lose their user, of the marks
                that get a temporary path, of the users who lose their inviter; and five times the share of
                the users who are deleted. All attributes are without a path, as in production.
        """
        part = fraction / 5
        return cls(
            deleted_users=part,
            author_null=part,
            author_text_none=part,
            author_empty=part,
            author_dangling=part,
            author_dangling_shared=part,
            mark_user_null=part,
            mark_user_text_none=part,
            mark_user_empty=part,
            mark_user_dangling=part,
            mark_user_dangling_shared=part,
            inviter_null=fraction,
            mark_path_temp=fraction,
            attribute_path_null=1.0,
        )

    @classmethod
    def all_kinds(cls, count: int = 2) -> DamageProfile:
        """Every kind there is, so many times each."""
        return cls(**{kind: count for kind in KINDS if kind != "log_user_twin"})


KINDS: Sequence[str] = tuple(field.name for field in dataclasses.fields(DamageProfile) if field.name != "temp_roots")
