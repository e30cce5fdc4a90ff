"""The three training stages: align, decoders, mllm. Each file has a function that creates a `Stage`.

From a batch to a loss: `training.loop.backward` draws a batch from the stage's source and calls `stage.losses(batch, counts)`, which
is `align_stage.losses`, `decoders.make_losses` (`DiffusionDecoder.loss`) or `mllm_stage.losses` (`CoDi2ForConditionalGeneration.forward`
and its `_losses`). `backward` weights and sums them. The formulas are in `modules.losses`.
"""
