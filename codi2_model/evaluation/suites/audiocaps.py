"""AudioCaps: sounds from captions of the test split (Kim et al. 2019), measured as AudioLDM does: FD, FAD, KL, CLAP.

Data: test.csv (audiocap_id, youtube_id, start_time, caption) as published, and audio/<youtube_id>_<start_time>.wav (or
<youtube_id>.wav, <audiocap_id>.wav; flac as well), which each user must fetch. One caption a clip is drawn by hash.
FAD here is the Frechet distance of CLAP embeddings (fad_clap), not of VGGish; KL and FD are by the AST in the folder
where published figures take PANNs: compare with figures made by the same judges alone.
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
from codi2_model.evaluation.suites.sounds import distances, filled, sound

TASK = "text_to_audio"


def requests(data: Path, limit: int | None, seed: int) -> list[Request]:
    """`limit` counts clips. Clips whose sound is not in the folder are left out; none at all is an error."""
    clips: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    captions = needed(data / "test.csv", "the test split of AudioCaps")
    need(str(captions), header_of(str(captions)), ("youtube_id",), ("start_time",), ("audiocap_id",), ("caption",))
    for _, row in table(captions, delimited_rows(str(captions))):
        clips[f"{row['youtube_id']}_{row['start_time']}"][row["audiocap_id"]] = row
    found: list[Request] = []
    for clip in by_hash(clips, seed):
        row = clips[clip][by_hash(clips[clip], seed)[0]]
        path = place(data, clip, clips[clip])
        if path is not None and (limit is None or len(found) < limit):
            about = {"caption": row["caption"], "file": str(path)}
            found.append(Request(clip, TASK, user(f"Make this sound: {row['caption']}"), about, clip))
    if not found:
        raise SuiteError(f"{data / 'audio'} holds no sound of the test split")
    return sorted(found, key=lambda request: request.key)


def place(data: Path, clip: str, rows: dict[str, dict[str, str]]) -> Path | None:
    names = [clip, next(iter(rows.values()))["youtube_id"], *sorted(rows)]
    paths = (data / "audio" / f"{name}{ending}" for name in names for ending in (".wav", ".flac"))
    return next((path for path in paths if path.is_file()), None)


def score(data: Path, asked: Sequence[Request], answers: Sequence[Any | None], judges: Networks) -> list[Figure]:
    """The model's, and for CLAP the real sounds' too."""
    made, truths = filled(answers), [sound(Path(request.about["file"])) for request in asked]
    figures = distances(TASK, asked, made, truths, judges)
    texts = judges.clap_texts([request.about["caption"] for request in asked])
    rows, real = judges.clap_sounds(made), judges.clap_sounds(truths)
    for who, found in ((None, rows), ("real", real)):
        cosines = {r.group: float(a @ t) for r, a, t in zip(asked, found, texts, strict=True)}
        figures.append(Figure(TASK, "clap", cosines, baseline=who))
    if len(asked) > 1:
        figures.append(Figure(TASK, "fad_clap", value=frechet(rows, real, shrink=False).value, n=len(asked)))
    return figures


SUITE = Suite(
    "audiocaps",
    "audio",
    "Kim et al. 2019; Liu et al. 2023, arXiv 2301.12503",
    requests,
    score,
    ("clap", "audio_classifier"),
)
