"""Parallel and memory-saving training: data parallelism, FSDP2, gradient checkpointing, torch.compile.

Data parallelism averages gradients itself (`average_gradients`), with one all-reduce at the end of a step. The stages call
parts of the model and not one forward pass that DistributedDataParallel could wrap.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from codi2_model.training.config import ConfigError, TrainConfig
from codi2_model.training.optim.ema import gather_tensor, shard_like
from codi2_model.training.optim.optimizers import Optimizer

ZERO_LOSS = "reach"
"""Name of the loss of a sharded model that is always zero, through which every trained parameter has a gradient."""


def average_gradients(parameters: Sequence[nn.Parameter], world: int) -> None:
    """Replace every gradient by its mean over the workers, with one all-reduce."""
    if world == 1:
        return
    for p in parameters:  # None if this worker's share has no sample of a modality
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch._utils._flatten_dense_tensors(grads)  # type: ignore[attr-defined]
    torch.distributed.all_reduce(flat)
    flat /= world
    for grad, mean in zip(grads, torch._utils._unflatten_dense_tensors(flat, grads), strict=True):  # type: ignore[attr-defined]
        grad.copy_(mean)


def shard(model: Any, device: torch.device, half: bool) -> None:
    """FSDP2: shard weights, gradients and optimiser state over the workers. Each layer is gathered while it computes.

    half: compute in bfloat16 and reduce gradients in float32. Needs a process group, of at least one worker.
    Only for stages that call the model's forward, as mllm does: calls to its parts gather no weights.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if half else MixedPrecisionPolicy()
    for layer in model.llm.model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    model.register_forward_hook(_add_zero_loss)  # before the hook of fully_shard, while the weights are gathered
    # cannot be sharded: the encoders' temperature, which is frozen in this stage
    scalars = {p for p in model.parameters() if p.ndim == 0}
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=False, ignored_params=scalars)


def _add_zero_loss(model: Any, args: Any, output: Any) -> None:
    """Add a loss of zero that depends on every trained parameter.

    FSDP2 reduces only the gradients that exist. Workers whose batches hold different modalities would otherwise send
    messages of different sizes, which ends the run.
    """
    if output.losses is None or not torch.is_grad_enabled():
        return
    layers = {p for layer in model.llm.model.layers for p in layer.parameters()}  # reached through the hidden states
    others = [p for p in model.parameters() if p.requires_grad and p not in layers and not is_dtensor(p)]
    zero = output.hidden.sum() * 0.0 + sum(p.flatten()[0] * 0.0 for p in others)
    output.losses = {**output.losses, ZERO_LOSS: zero}


def reshard(model: Any) -> None:
    """Drop the gathered weights of the root module before its shards change; a forward pass without a backward keeps them."""
    if is_sharded(model):
        model.reshard()


def is_dtensor(tensor: torch.Tensor) -> bool:
    """Whether a tensor is sharded over the workers."""
    return hasattr(tensor, "device_mesh")


def is_sharded(model: nn.Module) -> bool:
    """Whether any parameter of the model is sharded over the workers."""
    return any(is_dtensor(p) for p in model.parameters())


def configure_layers(model: Any, config: TrainConfig) -> None:
    """Apply `gradient_checkpointing` (language model) and `compile` (language model, encoders, own decoders).

    The keys of state dicts do not change. Raises ConfigError if compilation is not possible.
    """
    # on a CPU the backward pass of fused attention takes twice as long or more, up to 128 tokens
    if not torch.cuda.is_available():
        model.llm.set_attn_implementation("eager")
    if config.gradient_checkpointing:
        model.llm.gradient_checkpointing_enable({"use_reentrant": False})
    if config.compile:
        if not torch.cuda.is_available() and not (shutil.which("g++") or shutil.which("clang++")):
            raise ConfigError(
                "compile: true needs a C++ compiler on a CPU; install g++ or clang++, or set compile: false"
            )
        layers = [*model.llm.model.layers, *(d.network for d in model.decoders.values() if hasattr(d, "network"))]
        layers += [layer for encoder in model.encoders.media.values() for layer in encoder.blocks.layers]
        if model.text_states is not None:
            layers += model.text_states.bert.encoder.layer
        if model.prompt_reader is not None:
            layers += model.prompt_reader.blocks
        for layer in layers:
            layer.compile(dynamic=True)


def gather_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict of a sharded model on the CPU of rank 0, gathered tensor by tensor; empty on other ranks."""
    first = torch.distributed.get_rank() == 0
    weights = {}
    for name, value in model.state_dict().items():
        gathered = gather_tensor(value)
        if first:
            weights[name] = gathered
    return weights


def gather_optimizer_state(optimizer: Optimizer) -> dict[str, Any]:
    """The state dict of a sharded optimiser, in the form of an unsharded one."""
    state = optimizer.state_dict()
    moments = {
        number: {name: gather_tensor(value) if torch.is_tensor(value) else value for name, value in entry.items()}
        for number, entry in state["state"].items()
    }
    return {**state, "state": moments}


def load_optimizer_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load a state dict from `gather_optimizer_state`; every worker keeps its shard."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    moments = {
        number: {
            name: shard_like(value, parameters[number]) if torch.is_tensor(value) and value.ndim else value
            for name, value in entry.items()
        }
        for number, entry in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": moments})
