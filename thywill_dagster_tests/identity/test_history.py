"""The history of whom names meant: what it tells, and what its files notice."""

import json
import stat
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.identity.history import CHANGE_COLUMNS, HISTORY_COLUMNS, MappingHistory, add_look
from thywill_dagster.identity.history_files import load_history, record_look, save_history
from thywill_dagster_tests.identity.names import names

START = datetime(2025, 6, 1, 12, tzinfo=UTC)

Meanings = Mapping[str, tuple[str, str]]


def mapped(meanings: Meanings) -> pd.DataFrame:
    rows = [(spelling, *meaning) for spelling, meaning in meanings.items()]
    return pd.DataFrame(rows, columns=["spelling", "person", "method"], dtype=object)


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def history_of(*looks: Meanings) -> MappingHistory:
    history = MappingHistory()
    for number, meanings in enumerate(looks):
        history = add_look(history, mapped(meanings), looked_at=day(number))
    return history


ANN = {"Ann": ("id-1", "exact")}
ANN_MISSING = {"Ann": ("?missing:ann", "missing")}
BO = {"Bo": ("id-2", "exact")}


def test_each_meaning_has_the_time_in_which_it_was_seen() -> None:
    frame = history_of({**ANN, **BO}, {**ANN_MISSING, **BO}, {**ANN_MISSING}, {**ANN, **BO}).frame()
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == dict(HISTORY_COLUMNS)
    assert frame.to_numpy().tolist() == [
        ["Ann", "id-1", "exact", pd.Timestamp(day(0)), pd.Timestamp(day(3)), True],
        ["Ann", "?missing:ann", "missing", pd.Timestamp(day(1)), pd.Timestamp(day(2)), False],
        ["Bo", "id-2", "exact", pd.Timestamp(day(0)), pd.Timestamp(day(3)), True],
    ]


def test_a_name_that_means_somebody_else_is_a_change() -> None:
    history = history_of(ANN, ANN_MISSING, ANN_MISSING, ANN)
    changes = history.changes()
    assert {name: str(dtype) for name, dtype in changes.dtypes.items()} == dict(CHANGE_COLUMNS)
    assert changes.drop(columns="noticed_at").to_numpy().tolist() == [
        ["Ann", "id-1", "?missing:ann", "exact", "missing"],
        ["Ann", "?missing:ann", "id-1", "missing", "exact"],
    ]
    assert history.changes_noticed(day(3))["after_person"].tolist() == ["id-1"]
    assert history.changes_noticed(day(2)).empty


def test_a_change_is_noticed_even_if_the_name_was_gone_in_between() -> None:
    assert history_of(ANN, {}, {"Ann": ("id-9", "exact")}).changes()["after_person"].tolist() == ["id-9"]


def test_new_names_and_other_methods_are_no_change() -> None:
    assert history_of(ANN, {**ANN, **BO}, {"Ann": ("id-1", "normalised")}).changes().empty


def test_a_look_that_is_not_newer_adds_nothing() -> None:
    history = history_of(ANN)
    assert add_look(history, mapped(BO), looked_at=day(0)) is history
    assert add_look(history, mapped(BO), looked_at=day(-1)) is history


def test_a_look_without_news_is_kept_once_a_day() -> None:
    history = history_of(ANN)
    assert add_look(history, mapped(ANN), looked_at=day(0) + timedelta(hours=23)) is history
    assert len(add_look(history, mapped(ANN), looked_at=day(1)).looks) == 2


def test_an_empty_history_has_its_columns(tmp_path: Path) -> None:
    history = load_history(tmp_path / "none")
    assert {name: str(dtype) for name, dtype in history.frame().dtypes.items()} == dict(HISTORY_COLUMNS)
    assert {name: str(dtype) for name, dtype in history.changes().dtypes.items()} == dict(CHANGE_COLUMNS)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(names, st.tuples(names, st.sampled_from(["exact", "loose"])), max_size=4), max_size=5))
def test_what_was_recorded_is_read_again(tmp_path_factory: pytest.TempPathFactory, looks: list[Meanings]) -> None:
    folder = tmp_path_factory.mktemp("history")
    for number, meanings in enumerate(looks):
        recorded = record_look(folder, mapped(meanings), looked_at=day(number))
        assert load_history(folder) == recorded
        assert recorded.current() == dict(meanings)
    assert load_history(folder) == history_of(*looks)


def test_files_are_for_this_user_only_and_never_changed(tmp_path: Path) -> None:
    folder = tmp_path / "site" / "names"
    record_look(folder, mapped(ANN), looked_at=day(0))
    first = (folder / "000001.jsonl").read_bytes()
    record_look(folder, mapped({**ANN_MISSING, **BO}), looked_at=day(1))
    assert (folder / "000001.jsonl").read_bytes() == first
    assert sorted(path.name for path in folder.iterdir()) == ["000001.jsonl", "000002.jsonl", "head.json"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent)} == {0o700}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"id-", b"ID-"))


def edit_header(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"2025-06", b"2024-06"))


def swap_lines(path: Path) -> None:
    header, *entries = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(header + b"".join(reversed(entries)))


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("damage", [Path.unlink, cut, empty, edit, swap_lines])
def test_a_file_that_was_lost_cut_or_changed_is_noticed(
    tmp_path: Path, damage: Callable[[Path], None], number: int
) -> None:
    for index, meanings in enumerate(({**ANN, **BO}, {**ANN_MISSING, "Bo": ("id-7", "exact")}, {**ANN, **BO})):
        record_look(tmp_path, mapped(meanings), looked_at=day(index))
    damage(tmp_path / f"{number:06}.jsonl")
    with pytest.raises(CouldNotLookError, match=r"damaged at .*; restore the folder .* from a backup"):
        load_history(tmp_path)
    with pytest.raises(CouldNotLookError):
        record_look(tmp_path, mapped(ANN), looked_at=day(9))


def test_a_changed_header_of_an_earlier_file_is_noticed(tmp_path: Path) -> None:
    for index, meanings in enumerate((ANN, BO)):
        record_look(tmp_path, mapped(meanings), looked_at=day(index))
    edit_header(tmp_path / "000001.jsonl")
    with pytest.raises(CouldNotLookError):
        load_history(tmp_path)


def test_files_of_a_crash_do_not_count_and_the_head_may_be_behind(tmp_path: Path) -> None:
    record_look(tmp_path, mapped(ANN), looked_at=day(0))
    head = (tmp_path / "head.json").read_bytes()
    recorded = record_look(tmp_path, mapped(BO), looked_at=day(1))
    (tmp_path / "head.json").write_bytes(head)
    (tmp_path / ".000003.jsonl.x.partial").write_bytes(b"{half")
    assert load_history(tmp_path) == recorded
    record_look(tmp_path, mapped(ANN), looked_at=day(2))
    assert json.loads((tmp_path / "head.json").read_bytes())["looks"] == 3


def test_a_damaged_head_is_noticed(tmp_path: Path) -> None:
    record_look(tmp_path, mapped(ANN), looked_at=day(0))
    (tmp_path / "head.json").write_text("{")
    with pytest.raises(CouldNotLookError, match=r"head\.json"):
        load_history(tmp_path)


def test_a_look_is_not_taken_for_saved_if_another_run_saved_its_own(tmp_path: Path) -> None:
    record_look(tmp_path, mapped(ANN), looked_at=day(0))
    mine = add_look(load_history(tmp_path), mapped(BO), looked_at=day(2))
    record_look(tmp_path, mapped(ANN_MISSING), looked_at=day(1))
    with pytest.raises(FileExistsError):
        save_history(tmp_path, mine)
    assert len(load_history(tmp_path).looks) == 2
    assert len(record_look(tmp_path, mapped(BO), looked_at=day(2)).looks) == 3


def test_runs_at_the_same_time_do_not_damage_the_history(tmp_path: Path) -> None:
    def look(number: int) -> MappingHistory:
        return record_look(tmp_path, mapped({"Ann": (f"id-{number}", "exact")}), looked_at=day(number))

    with ThreadPoolExecutor(4) as pool:
        recorded = list(pool.map(look, range(12)))
    history = load_history(tmp_path)
    assert all(history.looks[: len(one.looks)] == one.looks for one in recorded)
    assert history.looks[-1].looked_at == day(11)
    assert not list(tmp_path.glob(".*"))
