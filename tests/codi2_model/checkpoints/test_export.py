"""Export of a checkpoint: bfloat16 weights in several files, recorded in the catalog under the same run."""

from __future__ import annotations

import pytest
import torch

from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor
from codi2_model.checkpoints.export import ship
from codi2_model.checkpoints.hashing import weights_digest
from codi2_model.checkpoints.registry import TrainedRun, record, record_variant
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.errors import UsageError
from codi2_storage.store import Store


@pytest.fixture
def trained(tmp_path, model, processor):
    folder = tmp_path / "root" / "runs" / "run-1" / "final"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def test_what_ships_is_the_same_model_in_bfloat16_and_in_several_files(trained, tmp_path, model):
    out = ship(trained, tmp_path / "out", shard_mb=1, sampling_steps=3, guidance=1.25)
    files = list(out.glob("*.safetensors"))
    whole = sum(path.stat().st_size for path in trained.glob("*.safetensors"))
    assert len(files) > 1 and sum(path.stat().st_size for path in files) < 0.55 * whole
    back = CoDi2ForConditionalGeneration.from_pretrained(out)
    assert (back.config.sampling_steps, back.config.guidance) == (3, 1.25)
    assert CoDi2Processor.from_pretrained(out).config.sampling_steps == 3
    for name, value in model.state_dict().items():
        torch.testing.assert_close(back.state_dict()[name].float(), value, atol=0.02, rtol=0.01)


def test_the_catalog_knows_it_under_the_run_that_made_it(trained, tmp_path):
    store = Store(str(tmp_path / "root"))
    out = ship(trained, trained.with_name("shipped"))
    with pytest.raises(UsageError, match="these weights are not recorded"):
        record_variant(store, str(trained), out, str(out))
    whole = record(store, TrainedRun("run-1", "b1", {}, 7, 1.0), trained, [])
    small = record_variant(store, str(trained), out, str(out))
    assert small == record_variant(store, str(trained), out, str(out)) == weights_digest(out)[:16] != whole
    rows = Catalog(store).sql("select checkpoint_id, run_id, step from checkpoints order by checkpoint_id").to_pylist()
    assert rows == [{"checkpoint_id": name, "run_id": "run-1", "step": 7} for name in sorted((small, whole))]
