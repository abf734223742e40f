"""A second reading opens only what changed, and answers as if it had opened everything."""

import os
import random
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from thywill_dagster.archives import cache as cache_module
from thywill_dagster.archives.inventory import take_inventory
from thywill_dagster.archives.model import ArchiveRecords, PrayerTexts, ReadingContext
from thywill_dagster.archives.parser import parse_archives
from thywill_dagster.archives.timestamps import parse_timestamp
from thywill_dagster.sample.generator import SampleSize, write_site
from thywill_dagster_tests.archives.trees import MONTHLY_PATH, PRAYER_ID, PRAYER_PATH, USERS_PATH, prayer_file

LATER_NS = 3600 * 10**9


def later() -> int:
    """An hour from now, so that every file has settled."""
    return time.time_ns() + LATER_NS


class Site:
    def __init__(self, root: Path) -> None:
        write_site(root / "site", size=SampleSize(users=12, prayers=80, marks=300, months=3), hostile_names=True)
        self.archives = root / "site" / "text_archives"
        self.cache = root / "data" / "known.cache"

    def read(
        self, context: ReadingContext | None = None, *, key: str = "", now_ns: int | None = None
    ) -> ArchiveRecords:
        return parse_archives(
            take_inventory(self.archives),
            context or ReadingContext(),
            cache=self.cache,
            context_key=key,
            clock_ns=later if now_ns is None else lambda: now_ns,
        )

    def read_anew(self, context: ReadingContext | None = None) -> ArchiveRecords:
        return parse_archives(take_inventory(self.archives), context or ReadingContext())

    def some_prayer(self) -> Path:
        return sorted(self.archives.glob("prayers/*/*/*.txt"))[10]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    yield Site(tmp_path)


def opened(records: ArchiveRecords) -> list[str]:
    return records.files.loc[records.files["is_new"], "path"].tolist()


def assert_same(left: ArchiveRecords, right: ArchiveRecords) -> None:
    for name in ("files", "prayers", "events", "registrations", "accounts", "problems", "accounting"):
        one, other = getattr(left, name), getattr(right, name)
        pd.testing.assert_frame_equal(
            one.drop(columns="is_new", errors="ignore"), other.drop(columns="is_new", errors="ignore"), obj=name
        )


def test_nothing_is_opened_when_nothing_changed(site: Site) -> None:
    first = site.read()

    second = site.read()

    assert len(opened(first)) == len(first.files)
    assert opened(second) == []
    assert_same(first, second)


def test_a_changed_file_is_opened_alone(site: Site) -> None:
    site.read()
    file = site.some_prayer()
    with file.open("a") as opened_file:
        opened_file.write("June 05 2025 at 08:30 - Somebody New prayed this prayer\n")

    records = site.read()

    assert opened(records) == [str(file.relative_to(site.archives))]
    assert "Somebody New" in set(records.events["person"])
    assert_same(records, site.read_anew())


def test_deleted_and_renamed_files_are_noticed(site: Site) -> None:
    site.read()
    first, second, third = sorted(site.archives.glob("prayers/*/*/*.txt"))[3:6]
    first.unlink()
    second.rename(second.with_name("2030_01_01_prayer_at_0000.txt"))
    third.rename(first)

    records = site.read()

    assert len(opened(records)) == 2
    assert_same(records, site.read_anew())


def test_random_changes_are_all_noticed(site: Site) -> None:
    chance = random.Random(7)
    site.read()
    for _ in range(12):
        files = sorted(path for path in site.archives.rglob("*") if path.is_file())
        for file in chance.sample(files, 3):
            what = chance.randrange(4)
            if what == 0 and len(files) > 20:
                file.unlink()
            elif what == 1:
                file.write_bytes(file.read_bytes()[: chance.randrange(400)])
            elif what == 2:
                shutil.copy(file, file.with_name(f"copy_{chance.randrange(9)}_{file.name}"))
            else:
                file.write_bytes(file.read_bytes() + b"June 07 2025 at 10:00 - Zed prayed this prayer\n")
        assert_same(site.read(), site.read_anew())


def test_a_file_changed_within_one_tick_of_its_clock_is_noticed(site: Site) -> None:
    file = site.some_prayer()
    before = file.stat()
    site.read(now_ns=before.st_mtime_ns + 10**9)
    content = file.read_bytes()
    # Same length, same times as far as a coarse clock can tell: only its youth speaks against it.
    file.write_bytes(content.replace(b"prayed", b"PRAYED") if b"prayed" in content else content.swapcase())
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert_same(site.read(), site.read_anew())


def test_a_change_that_restores_size_and_modification_time_is_noticed(site: Site) -> None:
    site.read()
    file = site.some_prayer()
    before = file.stat()
    file.write_bytes(file.read_bytes().swapcase())
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert_same(site.read(), site.read_anew())


def texts_of(site: Site) -> dict[str, PrayerTexts]:
    return {prayer_id: PrayerTexts(text="Something else.") for prayer_id in site.read_anew().prayers["prayer_id"]}


def test_a_text_that_changed_in_the_database_is_read_again(site: Site) -> None:
    texts = texts_of(site)
    site.read(ReadingContext(texts=texts), key="one")
    changed = sorted(texts)[0]
    context = ReadingContext(texts={**texts, changed: PrayerTexts(text="Something new.")})

    records = site.read(context, key="two")

    assert len(opened(records)) == 1
    assert_same(records, site.read_anew(context))


def test_an_equal_context_is_not_looked_at(site: Site) -> None:
    site.read(ReadingContext(texts=texts_of(site)), key="one")

    def refuse() -> ReadingContext:
        raise AssertionError("the context was asked for")

    records = parse_archives(take_inventory(site.archives), refuse, cache=site.cache, context_key="one", clock_ns=later)

    assert opened(records) == []


def test_another_context_is_looked_at_even_without_a_key(site: Site) -> None:
    site.read()
    context = ReadingContext(names=frozenset(["a\nb"]), texts=texts_of(site))

    assert_same(site.read(context), site.read_anew(context))


def write_tagged_prayer(site: Site, behind: str = "") -> None:
    """Leaves nothing but a prayer with a tag, its monthly file, and what that goes on with."""
    shutil.rmtree(site.archives)
    (site.archives / "activity").mkdir(parents=True)
    (site.archives / PRAYER_PATH).parent.mkdir(parents=True)
    (site.archives / PRAYER_PATH).write_bytes(prayer_file("Please.", tag="choir"))
    (site.archives / MONTHLY_PATH).write_text(
        "Activity for June 2025\n\n\nJune 05 2025\n"
        f"08:30 - Ann submitted prayer {PRAYER_ID} (choir)\n"
        f"09:00 - Ben prayed for prayer {PRAYER_ID}\n{behind}"
    )


def test_a_monthly_file_is_read_again_when_the_header_that_confirms_its_tag_changed(tmp_path: Path) -> None:
    site = Site(tmp_path)
    write_tagged_prayer(site)
    assert not site.read().events["is_tainted"].any()

    (site.archives / PRAYER_PATH).write_bytes(prayer_file("Please.", tag="other"))
    records = site.read()

    assert records.events["is_tainted"].tolist() == [False, True]
    assert_same(records, site.read_anew())


def test_a_monthly_file_is_read_again_when_the_row_that_confirms_its_tag_turns_out_to_be_imported(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path)
    write_tagged_prayer(site)
    (site.archives / PRAYER_PATH).unlink()
    contexts = [
        ReadingContext(texts={PRAYER_ID: PrayerTexts(text="Please.", tag="choir", is_imported=is_imported)})
        for is_imported in (False, True)
    ]
    assert not site.read(contexts[0], key="one").events["is_tainted"].any()

    records = site.read(contexts[1], key="two")

    assert records.events["is_tainted"].tolist() == [False, True]
    assert_same(records, site.read_anew(contexts[1]))


def test_a_monthly_file_is_read_again_when_the_row_changes_that_showed_where_a_tag_has_ended(tmp_path: Path) -> None:
    site, later = Site(tmp_path), "b" * 32
    write_tagged_prayer(site, f"10:30 - Ann submitted prayer {later}\n11:00 - Ben prayed for prayer {later}\n")
    imported = PrayerTexts(text="Please.", tag="choir", is_imported=True, created_at=0)
    contexts = [
        ReadingContext(
            texts={PRAYER_ID: imported, later: PrayerTexts(text="Later.", created_at=parse_timestamp(at))},
        )
        for at in ("June 05 2025 at 10:30", "June 05 2025 at 12:30")
    ]
    assert site.read(contexts[0], key="one").events["is_tainted"].tolist() == [False, True, False, False]

    records = site.read(contexts[1], key="two")

    assert records.events["is_tainted"].tolist() == [False, True, True, True]
    assert_same(records, site.read_anew(contexts[1]))


def test_a_header_is_read_again_when_it_turns_out_that_there_were_rows(tmp_path: Path) -> None:
    site = Site(tmp_path)
    write_tagged_prayer(site)
    assert not site.read(ReadingContext(), key="one").events["is_tainted"].any()

    for number, context in enumerate(
        (ReadingContext(texts={"b" * 32: PrayerTexts(text="Other.")}), ReadingContext(has_lost_prayers=True))
    ):
        records = site.read(context, key=f"two {number}")

        assert records.events["is_tainted"].tolist() == [False, True]
        assert_same(records, site.read_anew(context))


def test_a_registration_is_read_again_when_a_name_that_decides_it_appears(tmp_path: Path) -> None:
    site = Site(tmp_path)
    shutil.rmtree(site.archives)
    (site.archives / "users").mkdir(parents=True)
    (site.archives / USERS_PATH).write_text(
        "User Registrations for June 2025\n\n"
        "June 05 2025 at 08:30 - A joined on invitation from B joined on invitation from C\n"
    )
    assert site.read(key="one").registrations["is_ambiguous"].tolist() == [True]
    context = ReadingContext(names=frozenset({"A joined on invitation from B", "C"}))

    records = site.read(context, key="two")

    assert records.registrations["inviter"].tolist() == ["C"]
    assert_same(records, site.read_anew(context))


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "foreign", "text", "rules", "directory"])
def test_a_cache_that_cannot_be_believed_is_rebuilt(site: Site, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    site.read()
    content = bytearray(site.cache.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    elif damage == "cut":
        del content[len(content) // 2 :]
    elif damage == "empty":
        content.clear()
    elif damage == "text":
        content[:] = b"not a cache\n" * 100
    site.cache.write_bytes(content)
    if damage == "foreign":
        shutil.copytree(site.archives, site.archives.with_name("other"))
        site.archives = site.archives.with_name("other")
    elif damage == "rules":
        monkeypatch.setattr(cache_module, "rules_version", lambda: "other rules")
    elif damage == "directory":
        site.cache.unlink()
        site.cache.mkdir()
        assert len(opened(site.read())) == len(site.read().files)
        assert [path.name for path in site.cache.parent.iterdir()] == [site.cache.name]
        site.cache.rmdir()

    records = site.read()

    assert len(opened(records)) == len(records.files)
    assert_same(records, site.read_anew())
    assert opened(site.read()) == []


def test_the_cache_is_private_and_holds_no_text(tmp_path: Path) -> None:
    site = Site(tmp_path)
    secret = "a very private request indeed"
    file = site.some_prayer()
    content = prayer_file(
        secret,
        tag=secret,
        generated=secret,
        activity=f"June 05 2025 at 09:00 - Ann added testimony: {secret}\n{secret}\n",
    )
    file.write_bytes(content)

    site.read(ReadingContext(texts={PRAYER_ID: PrayerTexts(text=secret, tag=secret, generated=secret)}))

    assert secret.encode() not in site.cache.read_bytes()
    assert stat.S_IMODE(site.cache.stat().st_mode) == 0o600
    assert stat.S_IMODE(site.cache.parent.stat().st_mode) == 0o700
    assert [path.name for path in site.cache.parent.iterdir()] == [site.cache.name]


def test_two_processes_read_what_one_reads(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thywill_dagster.archives.shards.FILES_FOR_TWO", 2)
    context = ReadingContext(texts=texts_of(site))
    done: list[int] = []

    two = parse_archives(
        take_inventory(site.archives), context, processes=2, on_file=lambda count, total: done.append(count)
    )

    assert_same(two, parse_archives(take_inventory(site.archives), context, processes=1))
    assert done[-1] == len(two.files)


def test_what_the_helper_did_not_finish_is_read_here(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thywill_dagster.archives.shards.FILES_FOR_TWO", 2)
    dying = """
import json, os, sys
sys.path[:] = json.loads(sys.argv[1])
from thywill_dagster.archives import file_reader, shards
file_reader.FileReader.read_others = lambda self, files: os._exit(1)
shards.serve()
"""
    monkeypatch.setattr("thywill_dagster.archives.shards._PROGRAM", dying)

    records = parse_archives(take_inventory(site.archives), ReadingContext(), processes=2)

    assert_same(records, site.read_anew())


@pytest.mark.parametrize("program", ["/nowhere/python", "/bin/false", "/bin/true", "/bin/cat"])
def test_without_its_helper_one_process_reads_everything(
    site: Site, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr("thywill_dagster.archives.shards.FILES_FOR_TWO", 2)
    monkeypatch.setattr(sys, "executable", program)

    alone = parse_archives(take_inventory(site.archives), ReadingContext(), processes=2)

    assert_same(alone, site.read_anew())
