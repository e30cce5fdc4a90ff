"""AudioCaps: audio from captions of the test split (Kim et al. 2019), with the metrics of AudioLDM: FD, FAD, KL, CLAP.

Data: test.csv (audiocap_id, youtube_id, start_time, caption) as published, and audio/<youtube_id>_<start_time>.wav (or
<youtube_id>.wav, <audiocap_id>.wav; also flac), which each user must fetch. One caption per clip is picked by hash.
fad_clap is the Frechet distance of CLAP embeddings, not of VGGish. KL and FD use the AST in the weights folder, where
published figures use PANNs. Compare only figures of the same judges.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codi2_datasets.readers.delimited import delimited_rows, header_of
from codi2_datasets.readers.values import need
from codi2_model.evaluation.data import by_hash
from codi2_model.evaluation.metrics.frechet import frechet
from codi2_model.evaluation.suites import Figure, Request, Suite, SuiteError, needed, table, user
from codi2_model.evaluation.suites.networks import Networks
from codi2_model.evaluation.suites.sounds import distances, fill_missing, read_sound

TASK = "text_to_audio"


def requests(data: Path, limit: int | None, seed: int) -> list[Request]:
    """Requests for `limit` clips with an audio file. Raises SuiteError if there are none."""
    clips: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    captions = needed(data / "test.csv", "the test split of AudioCaps")
    need(str(captions), header_of(str(captions)), ("youtube_id",), ("start_time",), ("audiocap_id",), ("caption",))
    for _, row in table(captions, delimited_rows(str(captions))):
        clips[f"{row['youtube_id']}_{row['start_time']}"][row["audiocap_id"]] = row
    result: list[Request] = []
    for clip in by_hash(clips, seed):
        row = clips[clip][by_hash(clips[clip], seed)[0]]
        path = audio_file(data, clip, clips[clip])
        if path is not None and (limit is None or len(result) < limit):
            about = {"caption": row["caption"], "file": str(path)}
            result.append(Request(clip, TASK, user(f"Make this sound: {row['caption']}"), about, clip))
    if not result:
        raise SuiteError(f"{data / 'audio'}: no audio file of the test split")
    return sorted(result, key=lambda request: request.key)


def audio_file(data: Path, clip: str, rows: dict[str, dict[str, str]]) -> Path | None:
    """The audio file of a clip, or None."""
    names = [clip, next(iter(rows.values()))["youtube_id"], *sorted(rows)]
    paths = (data / "audio" / f"{name}{ending}" for name in names for ending in (".wav", ".flac"))
    return next((path for path in paths if path.is_file()), None)


def score(data: Path, items: Sequence[Request], answers: Sequence[Any | None], judges: Networks) -> list[Figure]:
    """Figures of the model, and CLAP also of the real audio."""
    generated, truths = fill_missing(answers), [read_sound(Path(request.about["file"])) for request in items]
    figures = distances(TASK, items, generated, truths, judges)
    texts = judges.clap_texts([request.about["caption"] for request in items])
    rows, real = judges.clap_audio(generated), judges.clap_audio(truths)
    for baseline, embeddings in ((None, rows), ("real", real)):
        cosines = {r.group: float(a @ t) for r, a, t in zip(items, embeddings, texts, strict=True)}
        figures.append(Figure(TASK, "clap", cosines, baseline=baseline))
    if len(items) > 1:
        figures.append(Figure(TASK, "fad_clap", value=frechet(rows, real, shrink=False).value, n=len(items)))
    return figures


SUITE = Suite(
    "audiocaps",
    "audio",
    "Kim et al. 2019; Liu et al. 2023, arXiv 2301.12503",
    requests,
    score,
    ("clap", "audio_classifier"),
)
