"""The checkpoint of benchmarks that measure machinery and not media: tiny, with random weights."""

from __future__ import annotations

from pathlib import Path


def tiny(folder: Path) -> Path:
    """Write it into the folder; returns that."""
    from codi2_model import CoDi2Config, CoDi2ForConditionalGeneration, CoDi2Processor

    texts = ["Draw a red apple in the flat style.", "Play a low drum.", "What is this? A green leaf."] * 4
    processor = CoDi2Processor.build(CoDi2Config.preset("tiny", vocab_size=512), texts=texts)
    CoDi2ForConditionalGeneration.build(processor.config, seed=1).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
