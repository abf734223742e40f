"""Strategies for names: ordinary ones, spellings of one another, and what old sites let in."""

from hypothesis import strategies as st

ODD_CHARACTERS = " \t\n\r\x00\x1c\x85\xa0\u200b\u202e\u2028\u3000\ufeffßẞİΣςσÉé\u0301ﬁＡⅣ'’_.-:|😀аΑl1I0O"
"""White space of all kinds, invisible characters, and letters whose lower case or composition is special."""

any_text = st.text(max_size=120)
odd_names = st.text(alphabet=st.sampled_from("abAB " + ODD_CHARACTERS), max_size=12)
long_names = st.builds(
    lambda part, times: part * times, st.sampled_from(["a", "a ", "İ", " ", "\u200b"]), st.integers(90, 210)
)
names = st.one_of(odd_names, any_text, long_names)
small_names = st.text(alphabet=st.sampled_from("aAb ._'"), min_size=1, max_size=4)
"""So few that many are spellings of one another."""

usable_names = odd_names.filter(lambda name: name.strip("\n") != "")
