"""Reduced copies of published models, saved in their real formats by their own classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AudioLDM2UNet2DConditionModel,
    AutoencoderKL,
    DDIMScheduler,
    PNDMScheduler,
    UNet2DConditionModel,
    UNet3DConditionModel,
)
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
)

SCHEDULE: dict[str, Any] = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
    "set_alpha_to_one": False, "steps_offset": 1,
}  # fmt: skip
BLOCKS_2D = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
SMALL_UNET = {"block_out_channels": (32, 64), "layers_per_block": 1, "norm_num_groups": 8, "attention_head_dim": 8}


def vae(channels: int = 3, latents: int = 4, scaling: float = 0.18215) -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=channels, out_channels=channels, latent_channels=latents, block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=8,
        scaling_factor=scaling,
    )  # fmt: skip


def save_clip_text(folder: Path, name: str, tokenizer: str, projection: int | None = None, width: int = 32) -> Any:
    """A text encoder and a tokenizer whose tokens are letters."""
    letters = {"<|startoftext|>": 0, "<|endoftext|>": 1} | {chr(97 + n): n + 2 for n in range(26)}
    letters |= {f"{chr(97 + n)}</w>": n + 28 for n in range(26)}
    config = CLIPTextConfig(
        vocab_size=len(letters), hidden_size=width, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=77, projection_dim=projection or width, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    kind = CLIPTextModelWithProjection if projection else CLIPTextModel
    model = kind(config).eval()
    model.save_pretrained(folder / name)
    words = CLIPTokenizer(vocab=letters, merges=[], model_max_length=77)
    words.save_pretrained(folder / tokenizer)
    return model


def save_unclip(folder: Path) -> None:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, cross_attention_dim=32, class_embed_type="projection",
        projection_class_embeddings_input_dim=64, use_linear_projection=True, **SMALL_UNET, **BLOCKS_2D,
    )  # fmt: skip
    unet.save_pretrained(folder / "unet")
    vae().save_pretrained(folder / "vae")
    PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
        steps_offset=1, skip_prk_steps=True,
    ).save_pretrained(folder / "scheduler")  # fmt: skip
    StableUnCLIPImageNormalizer(embedding_dim=32).save_pretrained(folder / "image_normalizer")
    save_clip_text(folder, "text_encoder", "tokenizer")


def save_audioldm2(folder: Path) -> None:
    torch.manual_seed(0)
    AudioLDM2UNet2DConditionModel(
        sample_size=16,
        in_channels=8,
        out_channels=8,
        cross_attention_dim=((None, 24, 32),) * 2,
        **SMALL_UNET,
        **BLOCKS_2D,
    ).save_pretrained(folder / "unet")
    vae(1, 8, 0.41).save_pretrained(folder / "vae")
    SpeechT5HifiGan(
        SpeechT5HifiGanConfig(
            model_in_dim=64, sampling_rate=16000, upsample_initial_channel=64, upsample_rates=[5, 4, 2, 2, 2],
            upsample_kernel_sizes=[16, 16, 8, 4, 4], resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1, 3]],
            normalize_before=False,
        )
    ).save_pretrained(folder / "vocoder")  # fmt: skip
    DDIMScheduler(**SCHEDULE).save_pretrained(folder / "scheduler")


def save_zeroscope(folder: Path) -> None:
    torch.manual_seed(0)
    UNet3DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, cross_attention_dim=32, block_out_channels=(32, 64), layers_per_block=1,
        norm_num_groups=8, attention_head_dim=8, down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
    ).save_pretrained(folder / "unet")  # fmt: skip
    vae().save_pretrained(folder / "vae")
    DDIMScheduler(**SCHEDULE).save_pretrained(folder / "scheduler")


def save_sdxl(folder: Path) -> None:
    torch.manual_seed(0)
    UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, cross_attention_dim=64, addition_embed_type="text_time",
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=32 + 6 * 8, use_linear_projection=True,
        transformer_layers_per_block=1, **SMALL_UNET, **BLOCKS_2D,
    ).save_pretrained(folder / "unet")  # fmt: skip
    vae().save_pretrained(folder / "vae")
    DDIMScheduler(**SCHEDULE).save_pretrained(folder / "scheduler")
    save_clip_text(folder, "text_encoder", "tokenizer")
    save_clip_text(folder, "text_encoder_2", "tokenizer_2", projection=32)


SAVERS = {"unclip": save_unclip, "audioldm2": save_audioldm2, "zeroscope": save_zeroscope, "ip_adapter": save_sdxl}
