"""Reduced published pipelines: saved in their real format, loaded, trained and sampled."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from codi2_model.decoders import Reference
from codi2_model.decoders.pipelines.audioldm2 import log_mel
from codi2_model.options import DECODERS, PipelineOptions
from tests.codi2_model.published import SAVERS

SHAPES = {
    "unclip": (3, 32, 32),
    "audioldm2": (1, 4000),
    "zeroscope": (3, 4, 16, 16),
    "ip_adapter": (3, 32, 32),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    generated = {}
    for kind, save in SAVERS.items():
        generated[kind] = tmp_path_factory.mktemp(kind)
        save(generated[kind])
    return generated


def decoder_of(kind, folder, feature_dim=32, **options):
    cls = DECODERS.part(kind)
    settings = PipelineOptions(kind=kind, source=str(folder), components=cls.describe(str(folder)), **options)
    torch.manual_seed(1)
    decoder = cls(settings, SHAPES[kind], 1, feature_dim, feature_dim**0.5)
    decoder.load(str(folder))
    return decoder.eval()


def media(kind, count=2):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, *SHAPES[kind], generator=generator) * 1.6 - 0.8


@pytest.mark.parametrize("kind", SAVERS)
@pytest.mark.parametrize("reference", [False, True])
def test_a_published_decoder_trains_and_samples(kind, reference, folders, train_steps):
    decoder = decoder_of(kind, folders[kind], reference=reference)
    features = torch.randn(2, 1, 32, generator=torch.Generator().manual_seed(3))
    features.requires_grad_()
    sources = Reference(media(kind).flip(0), torch.tensor([True, False])) if reference else None
    loss = decoder.loss(features, media(kind), sources, torch.Generator().manual_seed(0))
    assert loss.isfinite()
    loss.backward()
    assert features.grad is not None and features.grad.abs().sum() > 0  # the LLM learns through the frozen decoder
    parts = decoder.trained()
    frozen = {id(p) for p in decoder.vae.parameters()}
    assert not any(id(p) in frozen for part in parts for p in part.parameters())
    weights = [p for part in parts for p in part.parameters()]
    if weights:
        train_steps(
            weights, lambda: decoder.loss(features.detach(), media(kind), sources, torch.Generator().manual_seed(0)), 2
        )
    generated = decoder.sample(
        features.detach(), sources, steps=2, guidance=3.0, generator=torch.Generator().manual_seed(1)
    )
    assert generated.shape == (2, *SHAPES[kind])
    assert generated.min() >= 0 and generated.max() <= 1
    with pytest.raises(ValueError, match=r"expected \[-1, 1\]"):
        decoder.loss(features.detach(), media(kind) * 100)


@pytest.mark.parametrize("kind", SAVERS)
def test_each_row_depends_on_its_own_generator_alone(kind, folders):
    decoder = decoder_of(kind, folders[kind])
    features = torch.randn(2, 1, 32, generator=torch.Generator().manual_seed(3))

    def generators(*seeds):
        return [torch.Generator().manual_seed(s) for s in seeds]

    both = decoder.sample(features, steps=2, generator=generators(5, 6))
    single = decoder.sample(features[1:], steps=2, generator=generators(6))
    torch.testing.assert_close(both[1:], single, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", SAVERS)
def test_published_weights_are_loaded_strictly_and_a_missing_part_is_named(kind, folders, tmp_path):
    decoder = decoder_of(kind, folders[kind])
    from safetensors.torch import load_file

    weights = load_file(folders[kind] / "unet" / "diffusion_pytorch_model.safetensors")
    own = decoder.unet.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in weights.items())
    with pytest.raises(FileNotFoundError, match="no component 'unet'"):
        DECODERS.part(kind).describe(str(tmp_path))


def test_unclip_draws_what_the_pipeline_of_diffusers_draws(folders):
    """StableUnCLIPImg2ImgPipeline with the same features, noise and schedule."""
    from diffusers import DDIMScheduler, DDPMScheduler, StableUnCLIPImg2ImgPipeline
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
    from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection

    folder = folders["unclip"]
    decoder = decoder_of("unclip", folder)
    vision = CLIPVisionConfig(hidden_size=32, num_attention_heads=4, num_hidden_layers=1, image_size=32, patch_size=8)
    pipeline = StableUnCLIPImg2ImgPipeline(
        feature_extractor=None,
        image_encoder=CLIPVisionModelWithProjection(vision),
        image_normalizer=StableUnCLIPImageNormalizer.from_pretrained(folder, subfolder="image_normalizer"),
        image_noising_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        tokenizer=CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer"),
        text_encoder=CLIPTextModel.from_pretrained(folder, subfolder="text_encoder"),
        unet=decoder.unet,
        scheduler=DDIMScheduler.from_config(decoder.schedule_options()),
        vae=decoder.vae,
    )
    pipeline.set_progress_bar_config(disable=True)
    noisy = pipeline.noise_image_embeddings

    def without_noise(image_embeds, noise_level, generator=None, **_):
        whole = noisy(image_embeds, noise_level, noise=torch.zeros_like(image_embeds))
        keep = pipeline.image_noising_scheduler.alphas_cumprod[0].sqrt()
        return torch.cat([whole[:, :32] / keep, whole[:, 32:]], dim=1)

    pipeline.noise_image_embeddings = without_noise
    feature = torch.randn(1, 32, generator=torch.Generator().manual_seed(0))
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(7))
    theirs = pipeline(
        prompt="", image_embeds=feature / 32**0.5, latents=latents, num_inference_steps=4, guidance_scale=5.0,
        height=32, width=32, output_type="np",
    ).images[0]  # fmt: skip
    ours = decoder.sample(feature, steps=4, guidance=5.0, generator=[torch.Generator().manual_seed(7)])[0]
    assert np.abs(ours.permute(1, 2, 0).numpy() - theirs).max() < 2e-3


def test_the_mel_picture_of_audioldm_of_a_tone_peaks_where_the_tone_is():
    time = torch.arange(16000) / 16000
    mel = log_mel(torch.sin(2 * torch.pi * 1000 * time)[None] * 0.5)
    assert mel.shape == (1, 100, 64)
    from transformers.audio_utils import mel_filter_bank

    bank = mel_filter_bank(513, 64, 0.0, 8000.0, 16000, norm="slaney", mel_scale="slaney")
    assert int(mel[0, 50].argmax()) in np.argsort(bank[64])[-2:]  # bin 64 of 513 is 1 kHz
    assert mel.min() >= np.log(1e-5) - 1e-4


def test_a_picture_survives_the_way_through_an_autoencoder_in_shape(folders):
    decoder = decoder_of("zeroscope", folders["zeroscope"])
    clip = media("zeroscope")
    latents = decoder.encode(clip)
    assert latents.shape == (2, *decoder.latent_shape()) == (2, 4, 4, 8, 8)
    assert decoder.decode(latents).shape == clip.shape
