"""The application's comparison, against an independent statement of its rule."""

import pytest
from hypothesis import example, given, settings

from thywill_dagster.identity.normalise import is_placeholder, lookup_key, why_unusable
from thywill_dagster_tests.identity.names import names


def application_key(name: str) -> str:
    """The rule, one character after the other: drop what does not print, one space for each run, lower."""
    collapsed = ""
    for character in name:
        if not character.isprintable():
            continue
        if character == " " and (collapsed == "" or collapsed[-1] == " "):
            continue
        collapsed += character
    if collapsed.endswith(" "):
        collapsed = collapsed[:-1]
    if collapsed == "" or len(collapsed) > 100:
        return ""
    return collapsed.lower()


@settings(max_examples=500, deadline=None)
@given(names)
@example("İ" * 100)
@example("a" * 100 + " ")
@example("a" * 101)
@example(" \u00a0 Ann \u3000 Lee\u200b ")
@example("ΑΣ")
def test_the_key_is_what_the_application_compares(name: str) -> None:
    assert lookup_key(name) == application_key(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ann  Lee", " ann lee "),
        ("Ann\u00a0Lee", "AnnLee"),
        ("Ann\tLee", "annlee"),
        ("Ann\u200b", "Ann"),
        ("ANN", "ann"),
    ],
)
def test_spellings_that_the_application_holds_for_the_same(one: str, other: str) -> None:
    assert lookup_key(one) == lookup_key(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [("é", "e\u0301"), ("straße", "STRASSE"), ("Ann Lee", "AnnLee"), ("Ann_Lee", "Ann Lee"), ("ﬁ", "fi")],
)
def test_spellings_that_the_application_tells_apart(one: str, other: str) -> None:
    assert lookup_key(one) != lookup_key(other)


@pytest.mark.parametrize("name", ["", "   ", "\u200b\u00a0", "x" * 101, "\n"])
def test_a_name_that_the_application_never_finds_has_no_key(name: str) -> None:
    assert lookup_key(name) == ""
    assert why_unusable(name) != ""


@pytest.mark.parametrize(
    "name", ["Unknown", "UNKNOWN  user", "none", "System", "temp", "DeletedUser1", "deleteduser42"]
)
def test_what_programs_write_where_they_know_no_name_is_a_placeholder(name: str) -> None:
    assert is_placeholder(name)


@pytest.mark.parametrize(
    "name", ["Unknown Ann", "Nonesuch", "Temp1", "DeletedUser", "DeletedUser1a", "DeletedUser²", ""]
)
def test_names_that_only_begin_like_one_are_no_placeholders(name: str) -> None:
    assert not is_placeholder(name)


@pytest.mark.parametrize("name", ["Ann\nLee", "Ann\x00", "Ann\rLee", "Ann\udc80", "a\r\nb"])
def test_a_name_that_would_break_a_line_of_the_archive_is_unusable(name: str) -> None:
    assert why_unusable(name) != ""


@pytest.mark.parametrize("name", ["Ann\u2028Lee", "a\x85b", "a\tb", "a\x1cb"])
def test_what_the_application_writes_into_one_line_is_usable(name: str) -> None:
    assert why_unusable(name) == ""


@pytest.mark.parametrize("name", ["A", "Bo by Lo", "A - B", "Zoë", "Ann\u00a0Lee", 'a|b: "c"', "x" * 100, "👩\u200d👧"])
def test_a_name_of_an_old_site_is_usable(name: str) -> None:
    assert why_unusable(name) == ""
