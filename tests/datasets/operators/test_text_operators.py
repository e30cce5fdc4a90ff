"""Operators on texts: language, personal data, embeddings."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from codi2_datasets.operators.personal_data import iban, luhn
from tests.datasets.operators.test_operators import measure, some

# --- texts -------------------------------------------------------------------------------------------------------

SENTENCES = {
    "en": "The children are playing in the garden behind the old house.",
    "de": "Die Kinder spielen im Garten hinter dem alten Haus.",
    "fr": "Les enfants jouent dans le jardin derrière la vieille maison.",
    "es": "Los niños juegan en el jardín detrás de la casa vieja.",
    "el": "Τα παιδιά παίζουν στον κήπο πίσω από το παλιό σπίτι.",
    "ru": "Дети играют в саду за старым домом.",
    "ja": "子供たちは古い家の裏庭で遊んでいます。",
    "zh": "孩子们在老房子后面的花园里玩耍。",
}


@pytest.mark.parametrize("code", SENTENCES)
def test_the_language_of_a_sentence_is_known(code: str) -> None:
    found = measure("language", json.dumps([SENTENCES[code]]))
    assert found["language"] == code and found["language_confidence"] > 0.5


PERSONAL = {
    "email": ["Write to ada.lovelace+x@mail.example.org!", "<a_b@c-d.io>"],
    "card": ["4111 1111 1111 1111", "paid with 5500-0055-5555-5559.", "378282246310005"],
    "iban": ["IBAN DE89 3704 0044 0532 0130 00", "GB29NWBK60161331926819"],
    "ip": ["from 93.184.216.34.", "host 2606:2800:220:1:248:1893:25c8:1946"],
    "phone": ["call +49 30 901820 now", "(555) 123-4567", "212-555-0187", "+1 (212) 555-0187"],
}
HARMLESS = [
    "In 1984, 12,345 people; 3.14159; 10:45:30; version 1.2.3.4567; ISBN 978-3-16-148410-0",
    "0101101001010 and 192.168.0.1 or 127.0.0.1, std::cout << a::b;",
    "4111 1111 1111 1112", "DE88 3704 0044 0532 0130 00", "@home me@ a@b 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15", "2026-11-23 100-200",
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in PERSONAL.items() for text in texts])
def test_personal_data_are_found_and_not_kept(kind: str, text: str) -> None:
    found = measure("personal_data", text)
    assert found == {"personal_data": 1.0, "personal_data_kinds": kind}


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_personal_data_is_left_alone(text: str) -> None:
    assert measure("personal_data", text)["personal_data"] == 0


def test_all_finds_are_counted_and_each_kind_named_once() -> None:
    text = json.dumps(["a@b.org or c@d.org", "+49 30 901820"])
    assert measure("personal_data", text) == {"personal_data": 3.0, "personal_data_kinds": "email,phone"}


@some
@given(st.integers(10**14, 10**15 - 1), st.integers(0, 14), st.integers(1, 9))
def test_a_check_digit_notices_any_wrong_digit(number: int, place: int, change: int) -> None:
    assume(len(set(str(number))) > 3)
    right = next(f"{number}{digit}" for digit in range(10) if luhn(f"{number}{digit}"))
    wrong = right[:place] + str((int(right[place]) + change) % 10) + right[place + 1 :]
    assert luhn(right) and not luhn(wrong)


@some
@given(st.text("ABCDEFGH0123456789", min_size=11, max_size=30), st.integers(1, 96))
def test_an_iban_with_other_check_digits_is_none(account: str, change: int) -> None:
    def checked(digits: int) -> bool:
        return iban(f"DE{digits:02d}{account}")

    right = [digits for digits in range(2, 99) if checked(digits)]
    assert len(right) == 1 and not checked((right[0] - 2 + change) % 97 + 2)


def test_long_runs_of_digits_and_dots_take_no_time() -> None:
    for text in ("1" * 20_000, "1 " * 10_000, "a." * 10_000 + "@", "a@" + "a." * 10_000, ":" * 20_000, "+1 (2" * 5_000):
        measure("personal_data", text)


def test_texts_are_measured_by_what_they_say() -> None:
    said = json.dumps(["One two three.", "Four!"])
    assert measure("length", said) == {"characters": 20.0, "words": 4.0}
    assert measure("minhash", said) == measure("minhash", "one, two, three; FOUR")


def test_texts_on_one_subject_have_like_embeddings() -> None:
    dog, puppy, market = (
        measure("text_embedding", text)["text_embedding"]
        for text in ("A dog runs.", "A puppy is running.", "The stock market fell.")
    )
    assert dog.shape == (384,) and np.linalg.norm(dog) == pytest.approx(1, abs=1e-5)
    assert dog @ puppy > 0.6 > dog @ market
