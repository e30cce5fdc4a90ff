"""Pictures made of pictures: what is placed lies where it should, and nothing else changes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy import ndimage

from codi2_datasets.media.cutout import NEAR_WHITE, background, cutout, trimmed
from codi2_datasets.media.image import decode_image, encode_image, normalise_image
from codi2_datasets.transforms import transforms
from codi2_datasets.vocabulary.counting import PAIRS, in_rows, scattered

SIZE = 64
channel = st.integers(0, 200)
colour = st.tuples(channel, channel, channel)


def disc(fill: tuple[int, int, int], radius: int = 20, size: int = SIZE) -> np.ndarray:
    """A disc on white, its edge blended with the white as a renderer blends it."""
    large = Image.new("RGB", (4 * size, 4 * size), "white")
    middle, reach = 2 * size, 4 * radius
    ImageDraw.Draw(large).ellipse([middle - reach, middle - reach, middle + reach, middle + reach], fill=fill)
    return np.asarray(large.resize((size, size), Image.Resampling.BOX))


def make(name: str, inputs: list[np.ndarray], **params: Any) -> np.ndarray:
    before = [picture.copy() for picture in inputs]
    made = transforms()[name].make(inputs, params)
    assert all(np.array_equal(a, b) for a, b in zip(before, inputs, strict=True))
    again = transforms()[name].make(inputs, params)
    assert made.dtype == np.uint8 and np.array_equal(made, again)
    return made


def over(layer: np.ndarray, ground: int) -> np.ndarray:
    share = layer[..., 3:].astype(float) / 255
    return layer[..., :3] * share + ground * (1 - share)


@settings(max_examples=40, deadline=None)
@given(colour, st.integers(6, 28))
def test_a_drawing_cut_out_and_laid_on_white_is_the_drawing_again(fill: tuple[int, int, int], radius: int) -> None:
    picture = disc(fill, radius)
    assert np.abs(over(cutout(picture), 255) - picture).max() <= 255 - NEAR_WHITE


@settings(max_examples=40, deadline=None)
@given(colour, st.integers(6, 28))
def test_a_drawing_cut_out_keeps_no_pale_rim(fill: tuple[int, int, int], radius: int) -> None:
    on_black = over(cutout(disc(fill, radius)), 0)
    assert (on_black <= np.array(fill) + 6).all()


def test_white_inside_a_drawing_stays() -> None:
    picture = disc((0, 0, 0)).copy()
    picture[28:36, 28:36] = 255
    layer = cutout(picture)
    assert (layer[28:36, 28:36] == 255).all() and layer[0, 0, 3] == 0


def test_white_that_touches_only_by_a_corner_is_not_background() -> None:
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    picture[0, 0] = picture[1, 1] = NEAR_WHITE
    assert background(picture).sum() == 1


@pytest.mark.parametrize("value", [0, 255])
def test_a_picture_of_one_colour_can_be_cut_out(value: int) -> None:
    picture = np.full((16, 16, 3), value, dtype=np.uint8)
    assert (cutout(picture)[..., 3] == (0 if value == 255 else 255)).all()
    assert trimmed(cutout(picture)).shape == (16, 16, 4)


def test_lines_one_pixel_wide_survive() -> None:
    picture = np.full((16, 16, 3), 255, dtype=np.uint8)
    picture[8, 2:14] = (10, 20, 30)
    assert (over(cutout(picture), 255) == picture).all()


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([0.25, 0.5, 0.75]), st.sampled_from([0.25, 0.5, 0.75]), st.sampled_from([0.3, 0.45]), colour
)  # fmt: skip
def test_a_thing_lies_where_it_was_put_and_the_scene_is_untouched_elsewhere(
    x: float, y: float, scale: float, fill: tuple[int, int, int]
) -> None:
    scene = np.full((SIZE, SIZE, 3), (90, 250, 90), dtype=np.uint8)
    made = make("overlay", [scene, disc(fill)], x=[x], y=[y], scale=[scale])
    changed = (made != scene).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert abs(rows.mean() - (y * SIZE - 0.5)) <= 1 and abs(columns.mean() - (x * SIZE - 0.5)) <= 1
    assert abs(np.ptp(columns) + 1 - scale * SIZE) <= 2
    assert np.abs(made[round(y * SIZE), round(x * SIZE)].astype(int) - fill).max() <= 3


def test_a_thing_put_over_the_border_is_moved_inwards() -> None:
    scene = np.full((SIZE, SIZE, 3), 200, dtype=np.uint8)
    made = make("overlay", [scene, disc((255, 0, 0))], x=[1.0], y=[0.0], scale=[0.5])
    rows, columns = np.nonzero((made != scene).any(axis=2))
    assert rows.min() == 0 and columns.max() == SIZE - 1 and np.ptp(rows) >= 30


def test_several_things_are_put_one_after_the_other() -> None:
    scene = np.full((SIZE, SIZE, 3), 250, dtype=np.uint8)
    red, blue = disc((200, 0, 0)), disc((0, 0, 200))
    both = make("overlay", [scene, red, blue], x=[0.25, 0.75], y=[0.5, 0.5], scale=[0.4, 0.4])
    first = make("overlay", [scene, red], x=[0.25], y=[0.5], scale=[0.4])
    assert np.array_equal(both, make("overlay", [first, blue], x=[0.75], y=[0.5], scale=[0.4]))


def test_what_was_drawn_for_a_scene_keeps_its_place() -> None:
    scene = np.full((SIZE, SIZE, 3), 200, dtype=np.uint8)
    thing = np.full((SIZE, SIZE, 3), 255, dtype=np.uint8)
    thing[40:50, 5:15] = (10, 120, 40)
    made = make("overlay", [scene, thing], whole=True)
    assert (made[41:49, 6:14] == (10, 120, 40)).all()
    assert (made[:38] == 200).all() and (made[:, 18:] == 200).all()


def blobs(sheet: np.ndarray) -> int:
    return int(ndimage.label(sheet.min(axis=2) < 200)[1])


@pytest.mark.parametrize("n", range(1, 10))
def test_a_sheet_shows_as_many_as_it_says(n: int) -> None:
    assert blobs(make("grid", [disc((0, 0, 90))], **in_rows(n))) == n


@pytest.mark.parametrize(("n", "m"), PAIRS)
def test_a_sheet_of_two_things_shows_as_many_of_each(n: int, m: int) -> None:
    for turn in range(3):
        sheet = make("grid", [disc((200, 0, 0)), disc((0, 0, 200))], **scattered(n, m, turn))
        assert blobs(sheet) == n + m
        red, blue = (sheet[..., 0].astype(int) - sheet[..., 2] > 100, sheet[..., 2].astype(int) - sheet[..., 0] > 100)
        assert ndimage.label(red)[1] == n and ndimage.label(blue)[1] == m


def test_the_arrangements_of_a_sheet_differ() -> None:
    assert all(len({str(scattered(n, m, turn)) for turn in range(3)}) == 3 for n, m in PAIRS)


pictures = st.binary(min_size=12 * 12 * 3, max_size=12 * 12 * 3).map(
    lambda data: np.frombuffer(data, dtype=np.uint8).reshape(12, 12, 3)
)


@settings(max_examples=30, deadline=None)
@given(pictures, st.integers(-3, 3))
def test_four_quarters_are_a_whole_turn(picture: np.ndarray, quarters: int) -> None:
    turned = make("rotate", [picture], quarters=quarters)
    assert np.array_equal(make("rotate", [turned], quarters=4 - quarters), picture)


def test_a_quarter_turn_goes_clockwise() -> None:
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    picture[0, 0] = 255
    assert make("rotate", [picture], quarters=1)[0, 3, 0] == 255


@pytest.mark.parametrize("scale", [0.25, 0.45, 0.65, 0.85])
def test_what_is_made_smaller_stays_in_the_middle(scale: float) -> None:
    made = make("resize", [disc((0, 0, 0), radius=30)], scale=scale)
    rows, columns = np.nonzero(made.min(axis=2) < 128)
    assert abs(rows.mean() - 31.5) <= 1 and abs(columns.mean() - 31.5) <= 1
    assert abs(np.ptp(rows) + 1 - 60 * scale) <= 2


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.sampled_from([n / 8 for n in range(8)]))
def test_a_frame_is_that_of_its_place(length: int, at: float) -> None:
    clip = np.broadcast_to(np.arange(length, dtype=np.uint8)[:, None, None, None], (length, 4, 4, 3))
    frame = make("frame", [clip], at=at)
    assert frame.shape == (4, 4, 3) and frame[0, 0, 0] == int(at * length)


def test_derived_pictures_are_kept_without_loss() -> None:
    drawing = (
        b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle cx="4" cy="4" r="3" fill="#c33"/></svg>'
    )
    picture = np.asarray(decode_image(normalise_image(drawing, "image/svg+xml")))
    made = make("grid", [picture], **in_rows(4))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_image(made))).convert("RGB")), made)
    assert blobs(made) == 4
