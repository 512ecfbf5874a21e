"""Words of titles as numbers."""

from __future__ import annotations

import zlib

import numpy as np

from agenticrs.agents.title_words import MOST_WORDS, title_words

IDS = np.array(["1", "2", "3", "4"])


def test_a_word_is_one_number_in_every_title_and_case() -> None:
    found = title_words(np.array(["The Sea", "sea, the: a SEA!", "3", "...?"]), IDS)
    assert found is not None
    the, sea, a = (zlib.crc32(word) for word in (b"the", b"sea", b"a"))
    assert found[0].tolist() == [the, sea, -1, -1]
    assert found[1].tolist() == [sea, the, a, sea]
    assert (found[2:] == -1).all()


def test_letters_of_any_script_make_words() -> None:
    found = title_words(np.array(["Léon 1994", "七人の侍", "x", "y"]), IDS)
    assert found is not None
    assert found[0, :2].tolist() == [zlib.crc32("léon".encode()), zlib.crc32(b"1994")]
    assert found[1, 0] == zlib.crc32("七人の侍".encode())


def test_what_follows_the_last_word_that_counts_is_left_out() -> None:
    long = " ".join(f"w{number}" for number in range(MOST_WORDS + 5))
    found = title_words(np.array([long, "b", "c", "d"]), IDS)
    assert found is not None
    assert found.shape == (4, MOST_WORDS)
    assert found[0, -1] == zlib.crc32(f"w{MOST_WORDS - 1}".encode())


def test_ids_and_signs_are_no_titles() -> None:
    assert title_words(IDS, IDS) is None
    assert title_words(np.array(["1", "2", "-", "!"]), IDS) is None
    assert title_words(IDS[:0], IDS[:0]) is None
