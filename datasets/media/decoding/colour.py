"""Converts any pixels that Pillow decodes to 8-bit sRGB, as a viewer with colour management shows them.

Profiles and gamma are applied if they change a colour by more than `TOLERANCE`; an image that is already sRGB keeps its
bytes.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from codi2_datasets.media import MediaError

WHITE = (255, 255, 255)
TOLERANCE = 2  # of 255: how much sRGB profiles of different vendors differ
SCREEN_GAMMA = 2.2
SAME_GAMMA = 0.05  # exponents this close to 1 change nothing, by libpng's own threshold
LONE_GAMMA = 0.25  # the same without primaries: browsers disagree in that case, and old editors wrote a Mac's 1.8
PROFILE_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab"}
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # TIFF tags
WHITE_IS_ZERO = 0


def srgb(image: Image.Image) -> Image.Image:
    """A loaded image as RGB, or RGBA if it has transparency. Raises MediaError if no pixel has a finite value."""
    pixels = image
    if image.mode[0] in "IF":
        pixels = _eight_bits(image)
    elif image.mode in ("La", "RGBa"):  # premultiplied: Pillow converts these modes to nothing else
        pixels = image.convert("LA" if image.mode == "La" else "RGBA")
    layer = pixels
    if pixels.has_transparency_data and pixels.mode != "RGBA":
        layer = pixels.convert("RGBA")
    colours = _corrected(pixels, image)
    if colours is None:
        return layer if layer.mode in ("RGB", "RGBA") else layer.convert("RGB")
    if layer.mode == "RGBA":
        colours.putalpha(layer.getchannel("A"))
    return colours


def over_white(image: Image.Image) -> Image.Image:
    """A loaded image as RGB, with transparency over white."""
    shown = srgb(image)
    if shown.mode == "RGB":
        return shown
    return Image.alpha_composite(Image.new("RGBA", shown.size, (*WHITE, 255)), shown).convert("RGB")


def is_plain(image: Image.Image) -> bool:
    """Whether the pixels are 8-bit sRGB without transparency as stored."""
    return image.mode == "RGB" and not image.has_transparency_data and _transform(image, "RGB") is None


# --- depth -----------------------------------------------------------------------------------------------------------


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 12, 16 or 32 bits, or floats -> 8 bits; LA if one value is transparent."""
    values = np.asarray(image)
    full = _full_scale(image)
    if full is not None and values.dtype.kind == "u":
        table = np.rint(np.arange(65_536) * (255.0 / full)).clip(0, 255).astype(np.uint8)
        levels = table[values]
    else:
        levels = _scaled(values, full)
    tags = getattr(image, "tag_v2", {})
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        levels = 255 - levels
    gray = Image.fromarray(levels)
    key = image.info.get("transparency")
    if isinstance(key, int):
        gray.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return gray


def _full_scale(image: Image.Image) -> int | None:
    """The value of white if the file format defines it; None for 32-bit samples, whose range the writer chooses."""
    if image.mode.startswith("I;16"):
        bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))
        return (1 << int(bits[0])) - 1
    return 65_535 if image.mode == "I" and image.format in ("PPM", "PNG", "JPEG2000") else None


def _scaled(values: np.ndarray, full: int | None) -> np.ndarray:
    """Samples without a defined range -> uint8.

    Floats are taken as 0 to 1 if they fit; 8 and 16 bits stored in a wider type keep their range; anything else is
    stretched from minimum to maximum, as scientific viewers do.
    """
    wide = values.astype(np.float32)
    finite = wide[np.isfinite(wide)]
    if not finite.size:
        raise MediaError("no pixel has a finite value")
    low, high = float(finite.min()), float(finite.max())
    if full is not None:
        low, high = 0.0, float(full)
    elif low >= 0 and values.dtype.kind == "f" and float(finite.mean()) <= 1 and high <= 255:
        low, high = 0.0, 1.0  # a few values brighter than white are clipped
    elif low >= 0 and high <= 65_535:
        low, high = 0.0, 255.0 if high <= 255 else 65_535.0
    else:
        low = min(low, 0.0)
    scale = 255.0 / (high - low) if high > low else 0.0
    level = np.nan_to_num((wide - low) * scale, nan=0.0, posinf=255.0, neginf=0.0)
    return np.rint(level).clip(0, 255).astype(np.uint8)


# --- colours ---------------------------------------------------------------------------------------------------------


def _corrected(pixels: Image.Image, source: Image.Image) -> Image.Image | None:
    """The colours in sRGB, without alpha, if the file's profile or gamma changes them; else None."""
    if pixels.mode == "LAB":
        return _lab_transform().apply(pixels)
    base = {"1": "L", "LA": "L", "L": "L", "CMYK": "CMYK"}.get(pixels.mode, "RGB")
    if transform := _transform(source, base):
        return transform.apply(pixels if pixels.mode == base else pixels.convert(base))
    if (exponent := _exponent(source)) is not None:
        table = [round(255 * (value / 255) ** exponent) for value in range(256)]
        return pixels.convert("RGB").point(table * 3)
    return None


def _transform(image: Image.Image, base: str) -> ImageCms.ImageCmsTransform | None:
    profile = image.info.get("icc_profile")
    return _profile_transform(profile, base) if isinstance(profile, bytes) and profile else None


@lru_cache(maxsize=32)
def _profile_transform(profile: bytes, base: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB; None for a profile that is damaged, of another colour space than the image, or without
    effect.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != PROFILE_SPACES[base]:
            return None
        transform = ImageCms.ImageCmsTransform(source, _srgb_profile(), base, "RGB")
        probe = _probe(base)
        before, after = (np.asarray(shown, np.int16) for shown in (probe.convert("RGB"), transform.apply(probe)))
    except Exception:  # LittleCMS fails in many ways; a viewer then shows the image without the profile
        return None
    return transform if int(np.abs(before - after).max()) > TOLERANCE else None


def _probe(base: str) -> Image.Image:
    """Colours sampled from a whole colour space: steps of 17 in grey, of 51 in RGB, of 85 in CMYK."""
    channels = {"L": 1, "RGB": 3, "CMYK": 4}[base]
    steps = np.arange(0, 256, {1: 17, 3: 51, 4: 85}[channels], dtype=np.uint8)
    grid = np.stack(np.meshgrid(*[steps] * channels), axis=-1).reshape(1, -1, channels)
    return Image.fromarray(grid[..., 0]) if channels == 1 else Image.frombytes(base, grid.shape[1::-1], grid.tobytes())


@lru_cache(maxsize=1)
def _srgb_profile() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@lru_cache(maxsize=1)
def _lab_transform() -> ImageCms.ImageCmsTransform:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    return ImageCms.ImageCmsTransform(lab, _srgb_profile(), "LAB", "RGB")


def _exponent(image: Image.Image) -> float | None:
    """The exponent for a PNG's samples on a screen, by its gamma; None if it has no effect."""
    gamma = image.info.get("gamma")
    if image.format != "PNG" or not isinstance(gamma, float) or gamma <= 0 or "srgb" in image.info:
        return None
    if image.info.get("icc_profile"):
        return None
    exponent = 1 / (gamma * SCREEN_GAMMA)
    return exponent if abs(exponent - 1) > (SAME_GAMMA if "chromaticity" in image.info else LONE_GAMMA) else None
