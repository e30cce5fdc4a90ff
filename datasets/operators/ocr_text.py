"""Text in an image by OCR: PP-OCRv4 (Apache-2.0), as shipped in the package rapidocr-onnxruntime.

One network detects text, another recognises it. The steps between are those of the package for lines from left to
right; slanted and vertical lines are read badly, and OpenCV is not needed. Measured on one core: 22 ms for an image of
64 px.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import scipy  # loads its parts on first use
from numpy.typing import NDArray
from PIL import Image

from codi2_datasets.operators import Operator
from codi2_datasets.pretrained.package_weights import onnx_session, package_file

LONGEST = 320  # pixels; small images are enlarged to it
INK, BOX = 0.3, 0.5  # minimum probability of a pixel, and mean probability of a line, in the detection
GROWTH = 1.6  # the detector marks the core of a line; factor by which it is enlarged
SMALLEST = 3  # pixels
HEIGHT, WIDTH = 48, 320  # of a line to recognise; longer lines keep their aspect ratio
SURE = 0.5  # minimum mean confidence of the characters of a line


class Box(NamedTuple):
    top: int
    bottom: int
    left: int
    right: int


def measure(image: np.ndarray) -> dict[str, float | str]:
    """`ocr_text`: the lines, joined by spaces; `ocr_confidence`: their mean confidence; `ocr_area`: share of the image."""
    large = enlarged(image)
    lines = [(box, *read(large[box.top : box.bottom, box.left : box.right])) for box in boxes(large)]
    kept = [(box, text, sure) for box, text, sure in lines if text and sure >= SURE]
    area = sum((box.bottom - box.top) * (box.right - box.left) for box, _, _ in kept)
    return {
        "ocr_text": " ".join(text for _, text, _ in kept),
        "ocr_confidence": round(float(np.mean([sure for _, _, sure in kept])), 4) if kept else 0.0,
        "ocr_area": round(min(1.0, area / (large.shape[0] * large.shape[1])), 6),
    }


def enlarged(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) with the longer side 320 pixels, both sides multiples of 32."""
    scale = LONGEST / max(image.shape[:2])
    height, width = (max(32, round(side * scale / 32) * 32) for side in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def boxes(image: np.ndarray) -> list[Box]:
    """Bounding boxes of lines of text, sorted from top to bottom and from left to right."""
    chances = run(detector(), tensor(image))[0, 0]
    labels, _ = scipy.ndimage.label(scipy.ndimage.binary_dilation(chances > INK, np.ones((2, 2))))
    lines = []
    for rows, columns in scipy.ndimage.find_objects(labels):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if min(height, width) < SMALLEST or chances[rows, columns].mean() < BOX:
            continue
        grow = round(height * width * GROWTH / (2 * (height + width)))
        top, left = max(0, rows.start - grow), max(0, columns.start - grow)
        lines.append(Box(top, min(image.shape[0], rows.stop + grow), left, min(image.shape[1], columns.stop + grow)))
    return sorted(lines)


def read(line: np.ndarray) -> tuple[str, float]:
    """The text of one line, and the mean confidence of its characters."""
    width = max(1, round(line.shape[1] * HEIGHT / line.shape[0]))
    pixels = tensor(np.asarray(Image.fromarray(line).resize((width, HEIGHT), Image.Resampling.BILINEAR)))
    chances = run(reader(), np.pad(pixels, ((0, 0), (0, 0), (0, 0), (0, max(0, WIDTH - width)))))[0]
    best, sure = chances.argmax(axis=1), chances.max(axis=1)
    new = (best != 0) & (best != np.concatenate([[-1], best[:-1]]))  # 0 is blank; one character spans several columns
    text = "".join(characters()[place] for place in best[new]).strip()
    return text, float(sure[new].mean()) if new.any() else 0.0


def tensor(image: np.ndarray) -> NDArray[np.float32]:
    """(H, W, 3) uint8 -> (1, 3, H, W) from -1 to 1, in BGR order."""
    return ((image[..., ::-1].astype(np.float32) / 255.0 - 0.5) / 0.5).transpose(2, 0, 1)[None]


def run(session: Any, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    return session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(batch)})[0]


@cache
def detector() -> Any:
    return session("models/ch_PP-OCRv4_det_infer.onnx")


@cache
def reader() -> Any:
    return session("models/ch_PP-OCRv4_rec_infer.onnx")


def session(file: str) -> Any:
    return onnx_session(package_file("rapidocr_onnxruntime", file))


@cache
def characters() -> list[str]:
    """The characters that the outputs of the recognition network stand for."""
    return ["", *reader().get_modelmeta().custom_metadata_map["character"].splitlines(), " "]


OPERATOR = Operator("ocr_text", "1", "image", measure, packages=("rapidocr_onnxruntime", "onnxruntime"))
