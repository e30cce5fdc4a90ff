"""Every connector on its published files: what it yields, and what it rejects with which reason, counted exactly."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from codi2_datasets.connectors import ConnectorError, CorpusLocation, Link, connectors
from codi2_datasets.corpora import RejectedRow, SourceRow, corpora
from codi2_datasets.media.masks import decode_mask
from codi2_datasets.readers.values import licence_of
from codi2_datasets.recipe_schema import CorpusChoice
from codi2_datasets.sources.registries import SourceUnavailable
from codi2_datasets.steps.ingest_published import look_at
from codi2_datasets.tasks import planners

PlaceOf = Callable[..., CorpusLocation]

# connector -> pieces, rows by (modality, kind), rejects by reason
EXPECTED: dict[str, tuple[int, dict[str, int], dict[str, int]]] = yaml.safe_load("""
alpaca: [1, {text instruction: 28}, {no answer: 2, no instruction: 2, no JSON object: 1}]
audiocaps: [2, {audio sound: 6}, {no caption: 1}]
audioset: [1, {audio sound: 38, video clip: 1, image photo: 1},
           {a label that the ontology does not have: 1, its medium is not in the folder: 1}]
audioset 2: [2, {audio sound: 38, video clip: 1, image photo: 1},
             {a label that the ontology does not have: 1, the list does not name it: 1,
              its medium is in none of the tars: 1}]
cc12m: [1, {image photo: 5}, {}]
cc3m: [1, {image photo: 5}, {}]
clotho: [1, {audio sound: 5}, {}]
coco: [1, {image photo: 21}, {its medium is not in the folder: 1, no caption: 2, the same photograph again: 1}]
coyo: [1, {image photo: 5}, {no caption: 1}]
dolly: [1, {text instruction: 8}, {broken UTF-8: 1, no JSON object: 1, no JSON: 1}]
esc50: [1, {audio sound: 24}, {}]
instructpix2pix: [2, {image photo: 36, text edit: 18}, {an empty file: 1, "prompt.json: no JSON": 1}]
instructpix2pix 2: [3, {image photo: 16, text edit: 8}, {no instruction: 1, nothing was changed: 1, an empty file: 1}]
laion: [2, {image photo: 16}, {no caption: 1, no medium: 1, "not fetched: HTTP Error 404: Not Found": 2}]
llava-instruct: [1, {image photo: 12, text conversation: 14, text dialogue: 1},
                 {the speakers do not take turns: 1, its medium is not in the folder: 1, no JSON object: 1}]
magicbrush: [4, {image photo: 46, text edit: 23}, {no instruction: 1}]
metaicl: [3, {text icl: 28}, {"no task, input or output": 2, too few fields: 1}]
mimic-it: [8, {image photo: 59, text related: 34}, {broken base64: 1, a related instruction that is not there: 2,
           a picture that is not there: 1, no answer: 1}]
mmc4: [2, {image photo: 9, text document: 6}, {no JSON: 1, no pictures among words: 1}]
natural-instructions: [2, {text icl: 20}, {"no definition, input or output": 2}]
obelics: [3, {image photo: 23, text document: 10}, {"not fetched: HTTP Error 404: Not Found": 1,
          images and texts are not as long as each other: 1, no pictures among words: 1}]
vggsound: [1, {audio sound: 4, video clip: 4, image photo: 4},
           {"no audio track": 1, its medium is not in the folder: 1}]
wavcaps: [2, {audio sound: 3}, {no JSON object: 1, no caption: 1, its medium is not in the folder: 1}]
webvid: [1, {video clip: 7}, {no caption: 1, its medium is not in the folder: 1, too few fields: 1}]
""")
LINKS = {
    "cc12m": (5, {}),
    "cc3m": (6, {"too few fields": 1, "broken UTF-8": 1}),
    "coyo": (5, {"no caption": 1}),
    "laion": (14, {"no caption": 1, "no address": 1, "damaged file": 1}),
    "mmc4": (9, {"no JSON": 1}),
    "obelics": (23, {}),
    "webvid": (8, {"no caption": 1, "too few fields": 1}),
}


def read(place: CorpusLocation) -> list[SourceRow | RejectedRow]:
    connector = connectors()[place.corpus]
    return [row for piece in connector.pieces(place) for row in connector.rows(piece)]


def kept(rows: list[Any]) -> list[SourceRow]:
    return [row for row in rows if isinstance(row, SourceRow)]


def reasons(rows: list[Any]) -> dict[str, int]:
    return dict(Counter(row.reason for row in rows if isinstance(row, RejectedRow)))


@pytest.mark.parametrize("name", list(connectors()))
def test_a_connector_says_what_it_is(name: str) -> None:
    connector = connectors()[name]
    assert name not in corpora() and set(connector.tasks) <= set(planners()) and connector.tasks
    assert re.fullmatch(r"[A-Za-z0-9.-]+", connector.licence)
    assert connector.homepage.startswith("https://") and connector.terms.endswith(".") and connector.size
    assert connector.description and connector.version


@pytest.mark.parametrize("which", list(EXPECTED))
def test_rows_and_rejects_are_counted_exactly(which: str, published: Path, place_of: PlaceOf) -> None:
    place = place_of(published, which)
    pieces, good, bad = EXPECTED[which]
    found = list(connectors()[place.corpus].pieces(place))
    assert len(found) == pieces and pickle.loads(pickle.dumps(found)) == found
    rows = [row for piece in found for row in connectors()[place.corpus].rows(piece)]
    assert dict(Counter(f"{row.modality} {row.attributes['kind']}" for row in kept(rows))) == good
    assert reasons(rows) == bad


@pytest.mark.parametrize("which", list(EXPECTED))
def test_rows_are_whole_unique_and_the_same_every_time(which: str, published: Path, place_of: PlaceOf) -> None:
    place = place_of(published, which)
    rows = read(place)
    assert read(place) == rows
    assert len({row.locator for row in rows}) == len(rows)
    for row in kept(rows):
        assert row.payload and row.media_type and row.author and row.licence and row.corpus == place.corpus
        assert str(published) not in row.locator
        assert row.caption or row.modality == "text" or "ref" in row.attributes


def test_every_connector_has_a_fixture(where: dict[str, Any]) -> None:
    assert {name.split()[0] for name in where} == set(connectors())
    assert {name for name, connector in connectors().items() if connector.links} == set(LINKS)


@pytest.mark.parametrize("name", list(LINKS))
def test_lists_of_addresses_are_given_to_the_fetcher(name: str, published: Path, place_of: PlaceOf) -> None:
    links = connectors()[name].links
    assert links is not None
    found = list(links(place_of(published, name)))
    good = [link for link in found if isinstance(link, Link)]
    number, bad = LINKS[name]
    assert len(good) == number and {key.partition(":")[0]: n for key, n in reasons(found).items()} == bad
    assert len({link.row_id for link in good}) == number
    assert all(link.url.startswith("https://") and isinstance(link.attributes, dict) for link in good)


def test_tars_of_anyone_keep_what_can_be_read(published: Path, place_of: PlaceOf) -> None:
    rows = read(place_of(published, "webdataset"))
    found = reasons(rows)
    damaged = {reason: found.pop(reason) for reason in list(found) if reason.startswith("damaged tar")}
    assert sorted(damaged.values()) == [1, 1] and "damaged tar: unexpected end of data" in damaged
    assert found == {"not fetched: 404": 1, "its .json: no JSON": 1, "its .txt: broken UTF-8": 1, "no medium": 1,
                     "no caption": 2}  # fmt: skip
    assert "a thing whose words lie apart" in {row.caption for row in kept(rows)}
    kinds = Counter(row.attributes["kind"] for row in kept(rows))
    assert kinds["cut-out"] == kinds["sound"] == kinds["clip"] == 1
    pair = [row for row in kept(rows) if "pair" in row.attributes]
    assert [row.modality for row in pair] == ["image", "audio"] and len({row.attributes["pair"] for row in pair}) == 1
    assert next(row for row in kept(rows) if row.modality == "video").licence == "LicenseRef-web"
    fetched = next(row for row in kept(rows) if row.author == "a maker")
    assert fetched.licence == "CC-BY-4.0" and fetched.attributes["family"].startswith("page")


def test_the_things_in_a_photograph_are_outlined(published: Path, place_of: PlaceOf) -> None:
    rows = {row.attributes["family"]: row for row in kept(read(place_of(published, "coco")))}
    entities = {name: row.attributes.get("entities", []) for name, row in rows.items()}
    assert [thing["name"] for thing in entities["1"]] == ["dog", "person"] and "concept" not in rows["1"].attributes
    assert entities["2"] == entities["4"] == []  # a crowd, and an outline that is none
    assert rows["3"].attributes["concept"] == "dog" and len(rows["3"].attributes["more"]) == 4
    mask = decode_mask(entities["3"][0]["mask"])
    assert mask.shape == (96, 96) and 0.05 < mask.mean() < 0.4
    assert {rows[n].licence for n in ("0", "1", "2")} == {"CC-BY-2.0", "CC-PDM-1.0", "CC-BY-ND-2.0"}


def test_sounds_are_named_by_the_most_particular_of_their_labels(published: Path, place_of: PlaceOf) -> None:
    rows = kept(read(place_of(published, "audioset")))
    captions = {row.caption for row in rows}
    assert {"dog", "rain", "walk, footsteps"} <= captions and not any("animal and" in caption for caption in captions)
    clip = [row for row in rows if "pair" in row.attributes]
    assert sorted(row.modality for row in clip) == ["audio", "image", "video"]
    assert {row.media_type for row in clip} == {"audio/wav", "video/mp4", "image/png"}


def test_tars_and_folders_of_sounds_give_the_same_rows(published: Path, place_of: PlaceOf) -> None:
    def told(which: str) -> set[Any]:
        return {
            (row.caption, row.attributes["video"], row.modality, row.payload)
            for row in kept(read(place_of(published, which)))
        }

    assert told("audioset") == told("audioset 2")


def test_makers_and_licences_of_each_sound_are_kept(published: Path, place_of: PlaceOf) -> None:
    rows = kept(read(place_of(published, "clotho")))
    assert {row.licence for row in rows} == {"CC-BY-3.0", "CC0-1.0"} and {row.author for row in rows} == {"Andr\u00e9"}
    assert rows[1].caption.endswith("said 1") and len(rows[1].attributes["more"]) == 3


def test_an_edit_is_two_pictures_and_a_text_that_names_them(published: Path, place_of: PlaceOf) -> None:
    for which in ("instructpix2pix", "instructpix2pix 2", "magicbrush"):
        rows = kept(read(place_of(published, which)))
        before, after, text = rows[:3]
        assert text.attributes["media"] == [before.attributes["ref"], after.attributes["ref"]]
        assert before.attributes["family"] == after.attributes["family"] == text.attributes["family"]


def test_ids_that_lead_nowhere_are_left_out_and_told(published: Path, place_of: PlaceOf) -> None:
    rows = read(place_of(published, "mimic-it"))
    lost = [row.locator for row in rows if isinstance(row, RejectedRow) and "related" in row.reason]
    assert [name.rpartition("/")[2] for name in lost] == ["LACR_I2I_INS_999999", "LACR_I2I_INS_999998"]
    third = next(row for row in kept(rows) if row.locator.endswith("LACR_I2I_INS_000003"))
    assert third.attributes["related"] == ["LACR_I2I_INS_000004", "LACR_I2I_INS_000005"]
    clips = [row for row in kept(rows) if row.attributes.get("subset") == "DC"]
    assert [len(row.attributes["media"]) for row in clips] == [5, 5]
    assert {row.attributes["family"] for row in clips} == {"DC_IMG_v_clip_0", "DC_IMG_v_clip_1"}


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("alpaca", "alpaca_data.json", [{"prompt": "x"}], r"alpaca_data.json: the column 'instruction' is missing; it has: prompt"),
        ("audiocaps", "train.csv", "id,text\n1,a\n", r"train.csv: the column 'youtube_id' is missing; it has: id, text"),
        ("coco", "captions_val.json", {"images": [], "annotations": []}, r"captions_val.json: no 'images'"),
        ("esc50", "esc50.csv", "filename,kind\na.wav,dog\n", r"esc50.csv: the column 'category' is missing"),
        ("mimic-it", "LA_instructions.json", {"meta": {}}, r"LA_instructions.json: no 'data' in it"),
        ("natural-instructions", "task001.json", {"Instances": []}, r"'Definition' or 'Instances' is missing; it has: Instances"),
        ("audioset", "ontology.json", [{"no": 1}], r"ontology.json: no sounds with 'id' and 'name' in it"),
    ],
)  # fmt: skip
def test_a_column_that_is_missing_is_named_with_its_file(
    name: str, file: str, content: Any, message: str, making: ModuleType, tmp_path: Path
) -> None:
    making.write(tmp_path / file, content)
    making.write(tmp_path / "media" / "x.wav", making.tone(1))
    making.write(tmp_path / "media" / "x.jpg", making.jpeg(1))
    if name == "audioset":
        making.write(tmp_path / "x_segments.csv", 'x, 0.0, 1.0, "/m/1"\n')
    with pytest.raises(ConnectorError, match=message):
        list(connectors()[name].pieces(CorpusLocation(name, str(tmp_path))))


def test_a_parquet_without_a_needed_column_is_named(fixtures: ModuleType, tmp_path: Path) -> None:
    fixtures.parquet(tmp_path / "x.parquet", [{"instruction": "x"}])
    with pytest.raises(ConnectorError, match=r"x.parquet: the column 'source_img' is missing; it has: instruction"):
        list(connectors()["magicbrush"].pieces(CorpusLocation("magicbrush", str(tmp_path))))


def test_pictures_that_were_not_fetched_yet_say_how_to(published: Path) -> None:
    with pytest.raises(SourceUnavailable, match="codi2 fetch"):
        list(connectors()["laion"].pieces(CorpusLocation("laion", str(published / "laion" / "*.parquet"))))


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(
        SourceUnavailable, match="the environment variable CODI2_NOWHERE is not set; export CODI2_NOWHERE"
    ):
        look_at(CorpusChoice("alpaca", path="$CODI2_NOWHERE/alpaca"))


@pytest.mark.parametrize(
    ("said", "licence"),
    [
        ("http://creativecommons.org/licenses/by-nc-sa/2.0/", "CC-BY-NC-SA-2.0"),
        ("https://creativecommons.org/licenses/by/4.0", "CC-BY-4.0"),
        ("http://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "CC-PDM-1.0"),
        ("?", "LicenseRef-web"),
        (None, "LicenseRef-web"),
        (7, "LicenseRef-web"),
    ],
)
def test_licences_are_told_from_their_addresses(said: Any, licence: str) -> None:
    assert licence_of(said) == licence
