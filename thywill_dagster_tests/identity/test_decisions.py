"""The operator's decisions file: what is read, what is refused, and with which message."""

import hashlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thywill_dagster.errors import UsageError
from thywill_dagster.identity.decision_use import find_unused_decisions
from thywill_dagster.identity.decisions import (
    MAXIMUM_BYTES,
    Alias,
    Decisions,
    Distinct,
    Merge,
    NeverRestore,
    parse_decisions,
    render_decisions,
)
from thywill_dagster.identity.normalise import why_unusable
from thywill_dagster.identity.username_mapping import UsernameMapping
from thywill_dagster_tests.identity.names import odd_names

HASH = hashlib.sha256(b"Ann Lee").hexdigest()

EXAMPLE = f"""\
# what we found out in March
aliases:
  Ann_Lee: Ann Lee
  "null": 007
distinct:
  - [Pat Doe, Pat_Doe, Yes]
merge:
  - survivor: Ann Lee
    users: [Annie, 0f3c]
never_restore:
  - Old Name
  - SHA256:{HASH.upper()}
"""


def parse(text: str) -> Decisions:
    return parse_decisions(text, "names.yaml")


def test_a_file_is_read_with_the_line_of_each_entry() -> None:
    assert parse(EXAMPLE) == Decisions(
        aliases=(Alias("Ann_Lee", "Ann Lee", 3), Alias("null", "007", 4)),
        distinct=(Distinct(("Pat Doe", "Pat_Doe", "Yes"), 6),),
        merges=(Merge("Ann Lee", ("Annie", "0f3c"), 8),),
        never_restore=(NeverRestore("Old Name", 11), NeverRestore(f"sha256:{HASH}", 12)),
        source="names.yaml",
    )


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "aliases:\n", "never_restore: []\n", "\ufeffdistinct: []"])
def test_a_file_that_decides_nothing_is_like_no_file(text: str) -> None:
    assert parse(text).fingerprint == Decisions().fingerprint == ""


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("alias: {a: b}", 1, "there is no section 'alias'"),
        ("aliases: {a: b}\naliases: {c: d}", 2, "'aliases' stands twice"),
        ("aliases:\n  a: b\n  a: c", 3, "'a' stands twice"),
        ("aliases: [a, b]", 1, "aliases must be a mapping"),
        ("aliases:\n  a: [b]", 2, "must be a text"),
        ("aliases:\n  a:\n", 2, "is empty"),
        ("aliases:\n  ~: b\n", 2, "is empty"),
        ("aliases:\n  a: a", 2, "an alias of itself"),
        ("aliases:\n  a: b\n  b: a", 2, "aliases of one another"),
        ("aliases:\n  a: b\n  b: c", 2, "which is an alias itself (line 3)"),
        ("aliases:\n  '  ': b", 2, "the application never finds it"),
        ('aliases:\n  "a\\nb": b', 2, "a line break"),
        ("distinct: {a: b}", 1, "distinct must be a list"),
        ("distinct:\n  - [a]", 2, "two names or more"),
        ("distinct:\n  - a", 2, "must be a list"),
        ("distinct:\n  - [a, a]", 2, "stands twice in one entry"),
        ("distinct:\n  - [a, b]\n  - [c, b, a]", 3, "in the entry of line 2"),
        ("distinct:\n  - [" + ", ".join(f"n{i}" for i in range(101)) + "]", 2, "more than 100 names"),
        ("merge:\n  - [a, b]", 2, "must be a mapping"),
        ("merge:\n  - survivor: a", 2, "lacks users"),
        ("merge:\n  - users: [a]", 2, "lacks survivor"),
        ("merge:\n  - survivor: a\n    users: []", 2, "at least one user"),
        ("merge:\n  - survivor: a\n    users: [b]\n    keep: c", 4, "has no 'keep'"),
        ("merge:\n  - survivor: a\n    users: [a]", 2, "stands twice"),
        ("merge:\n  - survivor: a\n    users: [b]\n  - survivor: b\n    users: [c]", 4, "in the entry of line 2"),
        ("never_restore: a", 1, "must be a list"),
        ("never_restore:\n  - {a: b}", 2, "must be a text"),
        ("never_restore:\n  - sha256:abc", 2, "64 hex digits"),
        ("never_restore:\n  - a\n  - a", 3, "stands in line 2 already"),
        ("aliases: {a: b}\ndistinct:\n  - [a, b]", 3, "line 1 joins them"),
        ("aliases:\n  x: c\n  a: c\n  y: c\n  b: c\n  z: c\ndistinct:\n  - [a, b]", 8, "line 5 joins them"),
        ("aliases: {a: c, b: c}\ndistinct:\n  - [a, b]", 3, "line 1 joins them"),
        ("merge: [{survivor: a, users: [b, c]}]\ndistinct:\n  - [b, c]", 3, "line 1 joins them"),
        ("merge: [{survivor: a, users: [b]}]\naliases:\n  b: c", 3, "in the merge of line 1"),
        ("merge: [{survivor: a, users: [b]}]\nnever_restore: [a]", 1, "never to be restored"),
        ("- a", 1, "must be a mapping"),
        ("just a text", 1, "must be a mapping"),
        ("aliases: {a: b}\n---\naliases: {c: d}", 2, "several documents"),
        ("aliases: {a: b", 1, "this is no YAML"),
        ("aliases:\n\ta: b", 2, "this is no YAML"),
        ("aliases: {a: \x00}", 1, "characters that YAML forbids"),
        ("aliases: &x {a: b}\n", 1, "anchors and aliases"),
        ("aliases: {a: *x}\n", 1, "anchors and aliases"),
        ("aliases:\n  a: !!python/object/apply:os.system [id]", 2, "tags of YAML"),
        ("[" * 5000, 1, "the nesting is too deep"),
        ("#" * (MAXIMUM_BYTES + 1), 1, "larger than 256 KiB"),
        ("never_restore:\n" + "- a\n" * 20_001, 20_001, "more than 20,000 names"),
    ],
)
def test_a_file_that_is_not_valid_is_refused_with_file_line_and_next_step(text: str, line: int, what: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(text)
    message = str(error.value)
    assert message.startswith(f"names.yaml, line {line}: ")
    assert what in message
    problem, separator, next_step = message.rpartition("; ")
    assert separator and problem and next_step


def test_a_file_that_would_grow_without_bounds_is_refused_at_once() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    start = time.monotonic()
    with pytest.raises(UsageError, match="anchors"):
        parse(bomb)
    assert time.monotonic() - start < 1


def test_whom_a_site_has_to_forget_is_not_named_in_messages() -> None:
    with pytest.raises(UsageError) as error:
        parse("never_restore: [Secret Person, Secret Person]")
    assert "Secret" not in str(error.value)
    assert "Secret" not in parse("never_restore: [Secret Person]").forbidden(name="Secret Person")


class TestNeverRestore:
    @pytest.mark.parametrize(
        "entry", ["Ann Lee", "ann  lee", "id-ann", f"sha256:{HASH}", *(
            "sha256:" + hashlib.sha256(text).hexdigest() for text in (b"ann lee", b"id-ann")
        )]
    )  # fmt: skip
    def test_a_person_is_met_by_name_id_or_hash(self, entry: str) -> None:
        decisions = parse(f"never_restore:\n- {entry}\n")
        assert decisions.forbidden(name="Ann Lee", user_id="id-ann") == "the decisions file says never (names.yaml:2)"
        assert decisions.forbidden(name="Ann", user_id="id") == ""

    def test_a_name_is_met_in_every_spelling_that_the_application_holds_for_the_same(self) -> None:
        assert parse("never_restore: [Ann Lee]").forbidden(name=" ANN\u200b  lee")
        assert not parse("never_restore: [Ann Lee]").forbidden(name="Ann_Lee")

    def test_without_entries_nobody_is_met(self) -> None:
        assert Decisions().forbidden(name="", user_id="") == ""


def test_distinct_is_about_spellings_of_one_name_exactly_and_of_several_names_in_any_spelling() -> None:
    decisions = parse("distinct: [[Pad, pad], [Ann Lee, Ann_Lee]]")
    assert decisions.are_distinct("pad", "Pad")
    assert not decisions.are_distinct("PAD", "Pad")
    assert decisions.are_distinct("ANN_LEE", " ann lee")
    assert not decisions.are_distinct("Ann Lee", "ann lee")


usable = odd_names.filter(lambda name: not why_unusable(name))


@st.composite
def decision_files(draw: st.DrawFn) -> Decisions:
    found = draw(st.lists(usable, unique_by=str.strip, min_size=12, max_size=12))
    aliases = tuple(Alias(a, b, 0) for a, b in zip(found[:3], found[3:6], strict=True))[: draw(st.integers(0, 3))]
    distinct = (Distinct(tuple(found[6:9]), 0),)[: draw(st.integers(0, 1))]
    merges = (Merge(found[9], tuple(found[10:]), 0),)[: draw(st.integers(0, 1))]
    never = tuple(NeverRestore(name, 0) for name in (*found[:2], f"sha256:{HASH}"))[: draw(st.integers(0, 3))]
    return Decisions(aliases, distinct, merges, never)


@settings(max_examples=100, deadline=None)
@given(decision_files())
def test_decisions_that_are_written_and_read_again_are_the_same(decisions: Decisions) -> None:
    again = parse(render_decisions(decisions))
    assert again.fingerprint == decisions.fingerprint
    assert [(a.spelling, a.target) for a in again.aliases] == [(a.spelling, a.target) for a in decisions.aliases]
    assert [group.names for group in again.distinct] == [group.names for group in decisions.distinct]
    assert [(m.survivor, m.users) for m in again.merges] == [(m.survivor, m.users) for m in decisions.merges]
    assert [entry.entry for entry in again.never_restore] == [entry.entry for entry in decisions.never_restore]


def test_the_fingerprint_is_of_what_is_decided_not_of_how_it_is_written() -> None:
    text = "aliases: {a: b, c: d}\ndistinct: [[x, y]]\nmerge: [{survivor: s, users: [t, u]}]\nnever_restore: [m, n]\n"
    same = (
        "never_restore:\n- n\n- m\n# a remark\nmerge:\n- users: [u, t]\n  survivor: s\n"
        "distinct:\n- - y\n  - x\naliases:\n  c: d\n  'a': b\n"
    )
    assert parse(text).fingerprint == parse(same).fingerprint
    for other in (
        text.replace("a: b", "a: e"),
        text.replace("[m, n]", "[m]"),
        text.replace("s, users: [t, u]", "t, users: [s, u]"),
    ):
        assert parse(other).fingerprint != parse(text).fingerprint


def test_entries_without_effect_are_told_one_by_one() -> None:
    decisions = parse(
        "aliases:\n  Ann_Lee: Ann Lee\n  Typo: Ann Lee\n  X: Nobody\n"
        "distinct:\n  - [Lo, Pad]\n  - [Ann Lee, Nobody]\n"
        "merge:\n  - {survivor: Ann Lee, users: [Pad]}\n  - {survivor: Lo, users: [Nobody]}\n"
        f"never_restore:\n  - Dee\n  - Nobody\n  - sha256:{'0' * 64}\n  - former-id\n"
    )
    mapping = UsernameMapping.build([("a", "Ann Lee"), ("p", "Pad"), ("l", "Lo")], ["Dee"], decisions=decisions)
    unused = find_unused_decisions(mapping, ["ANN_LEE", "Dee", "Pad"], ["former-id"])
    assert [(entry.line, entry.section) for entry in unused] == [
        (3, "aliases"),
        (4, "aliases"),
        (7, "distinct"),
        (10, "merge"),
        (13, "never_restore"),
        (14, "never_restore"),
    ]
