"""How a step is spread over workers, and how its memory is spared: FSDP2, gradient checkpointing, compiling.

Data parallelism averages gradients itself (`average_gradients`): the stages call parts of the model, not one forward that
DistributedDataParallel could wrap, and one message at the end of a step is all that there is to send.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from codi2_model.training.config import ConfigError, TrainConfig
from codi2_model.training.optim.ema import like, whole
from codi2_model.training.optim.optimizers import Optimizer

REACH = "reach"
"""Name of the zero among a sharded model's losses through which all that is trained has a gradient."""


def average_gradients(parameters: Sequence[nn.Parameter], world: int) -> None:
    """Replace every gradient by its mean over the workers; one message for all."""
    if world == 1:
        return
    for p in parameters:  # a worker whose share lacked a modality has no gradient for its parts
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch._utils._flatten_dense_tensors(grads)  # type: ignore[attr-defined]
    torch.distributed.all_reduce(flat)
    flat /= world
    for grad, mean in zip(grads, torch._utils._unflatten_dense_tensors(flat, grads), strict=True):  # type: ignore[attr-defined]
        grad.copy_(mean)


def shard(model: Any, device: torch.device, half: bool) -> None:
    """FSDP2: spread weights, gradients and optimiser state over the workers; each layer is gathered while it computes.

    half: compute in bfloat16 and reduce gradients in float32. The process group must exist, of one worker at least.
    The model must be called as a whole, as the mllm stage does: elsewhere its parts are called, which gathers nothing.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if half else MixedPrecisionPolicy()
    for layer in model.llm.model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    model.register_forward_hook(_reach)  # before fully_shard's own hook, so while the weights are whole
    scalars = {p for p in model.parameters() if p.ndim == 0}  # cannot be spread; the encoders' temperature, frozen here
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=False, ignored_params=scalars)


def _reach(model: Any, args: Any, output: Any) -> None:
    """Add a zero to the losses that depends on all that is trained, whatever the batch holds.

    FSDP2 reduces the gradients that there are: workers whose batches differ (a sound here, a picture there, no target at
    all) would else send messages of different sizes, which kills the run.
    """
    if output.losses is None or not torch.is_grad_enabled():
        return
    layers = {p for layer in model.llm.model.layers for p in layer.parameters()}  # reached through the hidden states
    others = [p for p in model.parameters() if p.requires_grad and p not in layers and not is_spread(p)]
    zero = output.hidden.sum() * 0.0 + sum(p.flatten()[0] * 0.0 for p in others)
    output.losses = {**output.losses, REACH: zero}


def forget_gathered(model: Any) -> None:
    """Drop the root's gathered weights, which outlive a forward pass without a backward: its shares are about to change."""
    if is_sharded(model):
        model.reshard()


def is_spread(tensor: torch.Tensor) -> bool:
    return hasattr(tensor, "device_mesh")


def is_sharded(model: nn.Module) -> bool:
    return any(is_spread(p) for p in model.parameters())


def prepare(model: Any, config: TrainConfig) -> None:
    """Gradient checkpointing of the language model's layers, and compiling of these, of the encoders' and of our
    transformer decoders, as the config says; state dicts keep their names. On a CPU the language model's attention is written
    out (`eager`): up to 128 tokens its forward and backward pass takes half the time of the fused one, or less.

    Raises ConfigError where nothing can compile.
    """
    if not torch.cuda.is_available():
        model.llm.set_attn_implementation("eager")
    if config.gradient_checkpointing:
        model.llm.gradient_checkpointing_enable({"use_reentrant": False})
    if config.compile:
        if not torch.cuda.is_available() and not (shutil.which("g++") or shutil.which("clang++")):
            raise ConfigError("compile: true needs a C++ compiler (g++ or clang++), and there is none")
        layers = [*model.llm.model.layers, *(d.network for d in model.decoders.values() if hasattr(d, "network"))]
        layers += [layer for encoder in model.encoders.media.values() for layer in encoder.blocks.layers]
        if model.text_states is not None:
            layers += model.text_states.bert.encoder.layer
        if model.caption_reader is not None:
            layers += model.caption_reader.blocks
        for layer in layers:
            layer.compile(dynamic=True)


def whole_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """A sharded model's state dict in one piece on the CPU of rank 0, gathered weight by weight; empty elsewhere."""
    first = torch.distributed.get_rank() == 0
    found = {}
    for name, value in model.state_dict().items():
        gathered = whole(value)
        if first:
            found[name] = gathered
    return found


def whole_optimizer(optimizer: Optimizer) -> dict[str, Any]:
    """A sharded optimiser's state dict, as one worker alone would have it."""
    state = optimizer.state_dict()
    moments = {
        number: {name: whole(value) if torch.is_tensor(value) else value for name, value in entry.items()}
        for number, entry in state["state"].items()
    }
    return {**state, "state": moments}


def load_whole_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """The way back of `whole_optimizer`: every worker keeps its share."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    moments = {
        number: {
            name: like(value, parameters[number]) if torch.is_tensor(value) and value.ndim else value
            for name, value in entry.items()
        }
        for number, entry in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": moments})
