"""Invented names, requests, prayers and testimonies.

What users of the application really write is what makes its archives hard to read: names with spaces, texts
with empty lines, colons and dashes, line breaks of two kinds. Everything here is made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

_FOUNDERS = ("Naomi", "Sam", "Tobias")
"""The first user, the one who prays most, and the one of whom the default damage makes a former user."""

_NEIGHBOURS = ("Sam Rivers", "Ana Maria", "ana  maria", "O'Hara", "ruth.b", "Zoë", "BigJon")
"""A first word that is another user, two spellings that the application takes for one name, an apostrophe,
a dot, an accent, capitals inside."""

_HOSTILE = (
    "Bo by Lo",
    "Ed - Jo",
    "Al joined on invitation from Sam",
    "Kim prayed this prayer",
    "Pat ",
    "June  May",
    "SAM",
)
"""Legal until June 2025, when names were stored as typed."""

_FIRST = (
    "Abel", "Aida", "Bela", "Britta", "Carlo", "Celia", "Dario", "Delphine", "Edda", "Emil", "Fabio", "Fern",
    "Gideon", "Greta", "Hanno", "Hester", "Ida", "Ivo", "Jonna", "Josiah", "Kaia", "Kofi", "Leif", "Lourdes",
    "Magnus", "Mirela", "Nadia", "Nils", "Odile", "Oskar", "Petra", "Quentin", "Rafael", "Rhea", "Saul",
    "Selma", "Tamsin", "Teodor", "Uma", "Urs", "Vera", "Viggo", "Wanda", "Willem", "Xenia", "Yara", "Yusuf",
    "Zelda",
)  # fmt: skip
_LAST = (
    "Abbott", "Aldous", "Barrow", "Bramley", "Calder", "Cobb", "Danforth", "Dell", "Eastman", "Ellery",
    "Fairley", "Frost", "Garland", "Goode", "Hale", "Hobbs", "Ingram", "Irons", "Jessop", "Judd", "Kemble",
    "Kerr", "Langley", "Lowe", "Marsh", "Mercer", "Nash", "Norwood", "Oakes", "Orme", "Pell", "Prior",
    "Quill", "Raine", "Rook", "Selby", "Stowe", "Tarrant", "Thorne", "Underhill", "Upton", "Vale", "Vickers",
    "Wade", "Wren", "Yates", "Yorke", "Zeller",
)  # fmt: skip

_PEOPLE = (
    "my aunt",
    "a friend",
    "our choir",
    "my neighbour",
    "my two boys",
    "a colleague",
    "my mum",
    "Grandad",
)
_TROUBLES = (
    "waiting for test results",
    "looking for work again",
    "moving far away - and not by choice",
    "in hospital since Sunday",
    "tired, and short of hope",
    "facing a hard talk at home",
)
_REQUESTS = (
    "Please remember {who}, {trouble}.",
    "{who} – {trouble}. Thank you all!",
    "Two things: patience for {who}, and rest for me.",
    "Prayer for {who} by Friday, please: {trouble}.",
    "The appointment is at 10:30 on Monday; {who} will be there.",
    "My late wife prayed this prayer for {who} every night.",
    "It’s {who} again “{trouble}”.",
    "Update - {who} is no longer {trouble}",
    "für {who}: Kraft und Ruhe 🙏",
    "for {who}",
)
_SENTENCES = (
    "Gracious God, we bring before You {who}.",
    "Where there is fear, plant trust: today, and in the days to come.",
    "Give wisdom to all who help - doctors, family and friends.",
    "You know what it means to be {trouble}.",
    "Let Your peace be near.",
    "We thank You for every small sign of mercy.",
    "Hold this household together.",
)
_TESTIMONIES = (
    "The results came back clear!",
    "He found work: he starts on the 3rd.",
    "We talked - for the first time in years.",
    'She said "I could feel it".',
    "Thank you all. Home by Friday, just as we asked.",
    "Better every day 🙏",
)
_TAGS = ("choir", "healing", "retreat 2025", "youth - summer", "school")


def invent_names(random: Random, count: int, *, hostile: bool) -> list[str]:
    """Display names in the order of registration, none of them twice.

    Args:
        random: source of chance.
        count: how many.
        hostile: whether names that look like parts of archive lines come right after the founders.
    """
    names = [*_FOUNDERS, *(_HOSTILE if hostile else ()), *_NEIGHBOURS][:count]
    taken = {_bare(name) for name in names}
    spaced = [name for name in names if " " in name.strip()]
    while len(names) < count:
        # Large sites have variants as well; the application compares case and spaces away.
        if spaced and len(names) % 400 == 399:
            twin = random.choice(spaced).lower().replace(" ", "  ")
            if twin not in names:
                names.append(twin)
                continue
        name = _invent_name(random, len(names))
        if _bare(name) not in taken:
            taken.add(_bare(name))
            names.append(name)
            if " " in name:
                spaced.append(name)
    return names


def _invent_name(random: Random, number: int) -> str:
    first, last = random.choice(_FIRST), random.choice(_LAST)
    style = random.random()
    if style < 0.35 and number < len(_FIRST) * 2:
        return first
    if style < 0.7:
        return f"{first} {last}"
    if style < 0.8:
        return f"{first.lower()}.{last.lower()}"
    if style < 0.9:
        return f"{first} {last[0]}. {random.choice(_LAST)}"
    return f"{first.lower()}{random.randrange(10, 10 + max(90, number))}"


def _bare(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def write_request(random: Random) -> str:
    """The text of a prayer request as the database holds it."""
    sentences = [_fill(random, random.choice(_REQUESTS)) for _ in range(_few(random))]
    if len(sentences) == 1:
        text = sentences[0]
    elif random.random() < 0.5:
        text = " ".join(sentences)
    else:
        text = _break_lines(random, sentences)
    chance = random.random()
    if chance < 0.02:
        # Python takes it for a line break, the application does not.
        return text.replace(". ", ".\u2028", 1) if ". " in text else text + "\u2028Amen"
    if chance < 0.04:
        return f"  {text} "
    if chance < 0.05:
        return text.replace("\r\n", "\r", 1)
    return text


def write_generated_prayer(random: Random) -> str | None:
    """The prayer that the language model made of a request; None where it gave no answer."""
    if random.random() < 0.04:
        return None
    sentences = [_fill(random, sentence) for sentence in random.sample(_SENTENCES, 2 + _few(random))]
    sentences.append("Amen.")
    return _break_lines(random, sentences) if random.random() < 0.6 else " ".join(sentences)


def write_testimony(random: Random) -> str:
    """The text given with an answered prayer, its ends stripped as the application does."""
    if random.random() < 0.6:
        return random.choice(_TESTIMONIES)
    return _break_lines(random, random.sample(_TESTIMONIES, 2))


def choose_tag(random: Random) -> str | None:
    """A project tag; a form that was sent without one gives the empty string."""
    chance = random.random()
    return random.choice(_TAGS) if chance < 0.2 else "" if chance < 0.5 else None


def _fill(random: Random, pattern: str) -> str:
    return pattern.format(who=random.choice(_PEOPLE), trouble=random.choice(_TROUBLES))


def _few(random: Random) -> int:
    return 1 + int(random.random() ** 2 * 4)


def _break_lines(random: Random, sentences: Sequence[str]) -> str:
    # Browsers send CRLF; other clients, and texts that never went through a form, have LF.
    line_break = "\r\n" if random.random() < 0.6 else "\n"
    if random.random() < 0.5:
        line_break *= 2
    return line_break.join(sentences)
