"""The rules by which a plan decides, by name. Every action and every undecided finding names one of them."""

from __future__ import annotations

from collections.abc import Mapping

RULES: Mapping[str, str] = {
    "original_id": "the rows of a dangling id name one person, who has no user row:"
    " the row is created again under that id",
    "registered_person": "a person is registered in the archives, has no user row and no id is known:"
    " a row is created under an id that is computed from the name",
    "registration": "registration lines and the invite token say who invited the user",
    "broken_circle": "invitations make a circle, so that one of them is wrong, and the witnesses of this user's"
    " registration name another inviter",
    "archived_author": "line 1 of the prayer's file and the monthly line say who wrote it",
    "only_matching": "every assignment of the prayer's rows to its lines gives this row the same user",
    "line_order": "as many rows as lines stand in one minute, so their order decides",
    "twin_row": "the row that the application wrote in the same request names the user",
    "same_id": "the other rows with this id all belong to the same person, and a merge can have left such an id",
    "archive_header": "exactly one archive file is about this record",
    "temporary_suffix": "the path behind the temporary folder exists in the archive and is about this record",
    "file_of_the_line": "several files are about the prayer, and one has the line that was written with this row",
    "path_of_the_prayer": "several files are about the prayer, and its own row says which one is current",
    "registration_file": "the registration line of the user stands in this file",
    "archived_row": "the archives tell of the record and the database does not have it; only with --insert-missing",
    "same_name": "the application holds the names of these users for the same; only with --merge-duplicates",
    "decided_merge": "the decisions file says that these users are one person",
    "username_index": "usernames are looked up often and have no index; only with --add-indexes",
    "two_witnesses": "two independent lines name another user, and the application is known to mistake the present one"
    " for that user: a spelling variant of the name, or its first word",
}
