"""Who wrote each archived prayer, by line 1 of its files and the monthly lines.

A placeholder in a header is no evidence: the heal tool writes it where it does not know. A second header with
another name is overruled if the monthly file, which no tool writes, confirms one of the headers. A monthly line that
may be forged decides nothing; but no header decides alone against it, since the heal tool writes what the row says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thywill_dagster.identity.normalise import is_placeholder
from thywill_dagster.identity.username_mapping import CONFLICT, NOBODY
from thywill_dagster.integrity.columns import NOTHING, EventColumns, Numbers, by_number, places_of
from thywill_dagster.integrity.site import SiteView


@dataclass(frozen=True, slots=True)
class Authorship:
    """Who the archives say wrote a prayer.

    Attributes:
        person: who, None if nothing says so or the witnesses differ.
        evidence: ``path:line``.
        witnesses: kinds of witnesses that name the person: 2 for a header and a monthly line.
        reason: why there is no person although there is something.
        namesakes: the conflict, if the witnesses agree on a name that several users have.
    """

    person: str | None
    evidence: tuple[str, ...]
    witnesses: int
    reason: str
    namesakes: str = ""


NO_AUTHORSHIP = Authorship(None, (), 0, "")


class Authors:
    """The authors of all prayers; what is plain is kept as numbers only."""

    def __init__(self, site: SiteView) -> None:
        """Looks at every header and every monthly line once."""
        self._site = site
        prayers = site.records.prayers
        self._header_prayer = site.prayers.number_all(prayers["prayer_id"])
        self._header_names = prayers["author"].tolist()
        self._header_paths = prayers["path"].tolist()
        codes: dict[str, int] = {}
        for name in set(self._header_names):
            codes[name] = site.persons.number_of(site.mapping.person_of(name)) if name else NOTHING
        self._header_person = np.array([codes[name] for name in self._header_names], dtype=np.int64)
        submitted = site.events_of("submitted")
        self._lines = submitted.where(~submitted.is_tainted)
        self._doubtful = submitted.where(submitted.is_tainted)
        self._headers = by_number(self._header_prayer)
        self._monthly = by_number(self._lines.prayer)
        self._doubted = by_number(self._doubtful.prayer)

    @property
    def header_prayers(self) -> Numbers:
        """The prayer of each prayer file, in the order of the frame of prayers."""
        return self._header_prayer

    def of(self, prayer_id: str) -> Authorship:
        """The author of one prayer."""
        number = self._site.prayers.find(prayer_id)
        if number == NOTHING or not prayer_id:
            return NO_AUTHORSHIP
        persons = self._site.persons.values
        headers = [
            (persons[self._header_person[place]], self._header_names[place], f"{self._header_paths[place]}:1")
            for place in places_of(*self._headers, number).tolist()
            if self._header_names[place]
        ]
        return _judge(
            headers,
            self._told(self._lines, places_of(*self._monthly, number)),
            self._told(self._doubtful, places_of(*self._doubted, number)),
        )

    def _told(self, lines: EventColumns, places: Numbers) -> list[tuple[str, str]]:
        """Person and ``path:line`` of these lines."""
        events = self._site.records.events
        paths, numbers = events["path"], events["line"]
        return [
            (self._site.persons.values[lines.person[place]], f"{paths.iloc[position]}:{numbers.iloc[position]}")
            for place, position in zip(places.tolist(), lines.position[places].tolist(), strict=True)
        ]

    def persons(self) -> Numbers:
        """Prayer number to person number, :data:`NOTHING` where the archives do not decide.

        A prayer with one header and at most one monthly line that agree is decided at once, if no line that may be
        forged tells otherwise; the others one by one.
        """
        site = self._site
        count = len(site.prayers)
        found = np.full(count + 1, NOTHING, dtype=np.int64)
        named = self._header_person != NOTHING
        headers = np.bincount(self._header_prayer[named], minlength=count)
        lines = np.bincount(self._lines.prayer, minlength=count)
        found[self._header_prayer[named]] = self._header_person[named]
        told = np.full(count + 1, NOTHING, dtype=np.int64)
        told[self._lines.prayer] = self._lines.person
        is_plain_person = np.array(
            [not str(person).startswith((CONFLICT, NOBODY)) for person in site.persons.values] + [False], dtype=bool
        )
        suspicious = {site.mapping.person_of(name) for name in set(self._header_names) if is_placeholder(name)}
        for placeholder in suspicious:
            is_plain_person[site.persons.find(placeholder)] = False
        agree = (told[:count] == NOTHING) | (told[:count] == found[:count])
        others = self._doubtful.prayer[self._doubtful.person != found[self._doubtful.prayer]]
        agree &= np.bincount(others[others != NOTHING], minlength=count) == 0
        plain = (headers == 1) & (lines <= 1) & agree & is_plain_person[found[:count]]
        for number in np.flatnonzero(~plain & (headers + lines > 0)).tolist():
            person = self.of(site.prayers.values[number]).person
            found[number] = NOTHING if person is None else site.persons.find(person)
        return found


def _judge(
    headers: Sequence[tuple[str, str, str]], monthly: Sequence[tuple[str, str]], doubtful: Sequence[tuple[str, str]]
) -> Authorship:
    by_month = {person for person, _ in monthly}
    named = [
        (person, line)
        for person, name, line in headers
        if not person.startswith(NOBODY) and (not is_placeholder(name) or person in by_month)
    ]
    by_header = {person for person, _ in named}
    persons = by_header | by_month
    if len(by_month) == 1 and by_month <= by_header:
        persons = by_month
    if len(persons) > 1:
        everything = tuple(line for _, line in (*named, *monthly))
        return Authorship(None, everything, 0, "the witnesses name different authors")
    if not persons:
        return Authorship(None, (), 0, "only a placeholder stands in the header" if headers else "")
    (person,) = persons
    evidence = tuple(line for who, line in (*named, *monthly) if who == person)
    if not by_month and doubtful and all(other != person for other, _ in doubtful):
        evidence += tuple(line for _, line in doubtful)
        return Authorship(None, evidence, 0, "a monthly line that may be forged names another author")
    if person.startswith(CONFLICT):
        return Authorship(None, evidence, 0, "several users match the author's name", person)
    if person.startswith(NOBODY):
        return Authorship(None, (), 0, "the author's name stands for nobody")
    return Authorship(person, evidence, bool(by_header) + bool(by_month), "")
