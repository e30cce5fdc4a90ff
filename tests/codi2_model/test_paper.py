"""The published model: parameter counts on the meta device, and a reduced copy with all parts in their real formats."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers import decoders as token_decoders
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from codi2_model import CoDi2Config, CoDi2ForConditionalGeneration, CoDi2Processor
from codi2_model.encoders.imagebind import ImageBind, ImageBindOptions
from codi2_model.published_parts import with_source_shapes
from tests.codi2_model.published import SAVERS

LLAMA_2_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + message['content'].strip()"
    " + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}"
    "{% endif %}{% endfor %}"
)
LLAMA = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": False,
}  # fmt: skip
WORDS = 260


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_the_paper_preset_has_the_published_sizes():
    """Llama-2-7b 6,738,415,616; SD 2.1's UNet 865,910,724 and what unCLIP adds, autoencoder 83,653,863; AudioLDM 2's UNet
    of 350M; ModelScope's video UNet of 1,41B; ImageBind-huge's vision trunk 632M and sound trunk 86M."""
    config = CoDi2Config.preset("paper")
    with torch.device("meta"):
        model = CoDi2ForConditionalGeneration(config)
    lora = sum(p.numel() for name, p in model.llm.named_parameters() if "lora_" in name)
    rows = 2 * (config.vocab_size - 32_000) * 4096  # of the media tokens
    assert count(model.llm) - lora - rows == 6_738_415_616
    assert lora == 32 * 4 * 2 * 16 * 4096
    image = model.decoders["image"]
    reference = 320 * 5 * 9
    classes = 2048 * 1280 + 1280 + 1280 * 1280 + 1280  # an MLP for the picture's embedding
    assert count(image.unet) - reference - classes == 865_910_724
    assert count(image.vae) == 83_653_863
    assert count(model.decoders["audio"].unet) == pytest.approx(350e6, rel=0.01)
    assert count(model.decoders["video"].unet) == pytest.approx(1.41e9, rel=0.01)
    assert count(model.encoders.families["imagebind"]) == pytest.approx(632e6 + 86e6, rel=0.01)


def save_llama(folder):
    letters = {"<unk>": 0, "<s>": 1, "</s>": 2, "<pad>": 3}
    letters |= {c: n + 4 for n, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    core = Tokenizer(models.BPE(letters, [], unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = token_decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    tokenizer.chat_template = LLAMA_2_TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(vocab_size=WORDS, eos_token_id=2, **LLAMA)).save_pretrained(folder)


def small_imagebind():
    """Reduced options as in the tests of the encoders, with 32 output coordinates."""
    from tests.codi2_model.encoders.conftest import SMALL

    return ImageBindOptions.from_dict({**SMALL, "trunks": ["vision", "audio"], "out_dim": 32})


@pytest.fixture(scope="module")
def shrunk(tmp_path_factory):
    """Overrides of the preset `paper`: every part from a folder or file in its published format."""
    import dataclasses

    root = tmp_path_factory.mktemp("paper")
    save_llama(root / "llama")
    torch.manual_seed(0)
    options = small_imagebind()
    torch.save(ImageBind(options).state_dict(), root / "imagebind.pth")
    for kind, save in SAVERS.items():
        save(root / kind)
    return {
        "vocab_size": 272,
        "max_length": 400,
        "llm": LLAMA,
        "llm_source": str(root / "llama"),
        "first_media_token": WORDS,
        "feature_dim": 32,
        "image_size": 32,
        "audio": {"clip_seconds": 0.5, "frames": 50},
        "video": {"size": 16, "frames": 4},
        "families": {"imagebind": {"source": str(root / "imagebind.pth"), "config": dataclasses.asdict(options)}},
        "image_decoder": {"source": str(root / "unclip"), "components": {}},
        "audio_decoder": {"source": str(root / "audioldm2"), "components": {}},
        "video_decoder": {"source": str(root / "zeroscope"), "components": {}},
    }


def test_a_shrunk_copy_of_every_published_part_trains_and_generates(shrunk, parts, tmp_path, train_steps):
    config = with_source_shapes(CoDi2Config.preset("paper", **shrunk))
    model = CoDi2ForConditionalGeneration.build(config, seed=0)
    processor = CoDi2Processor.build(config)
    talks = [
        [parts.user(parts.text("Turn "), parts.image("red", icl_role="query")), parts.assistant(parts.image("blue"))],
        [parts.user(parts.text("Play "), parts.audio(300)), parts.assistant(parts.text("So: "), parts.audio(600))],
        [parts.user(parts.text("Move it")), parts.assistant(parts.video("green"))],
    ]
    batch = processor(talks, training=True, packed=True)
    # a turn of Llama 2 ends in a blank and </s>, which the model has to say itself
    assert (batch["labels"] == 2).sum() == 3
    model.requires_grad_(False)
    trained = [model.in_projection, *model.trained_llm(), model.head, model.aligners]
    weights = [p for part in trained for p in part.requires_grad_(True).parameters()]
    before = {k: v.clone() for k, v in model.llm.state_dict().items()}
    seen = train_steps(weights, lambda: model(**batch, generator=torch.Generator().manual_seed(0)).loss, 3)
    assert seen[-1] < seen[0]
    changed = {k for k, v in model.llm.state_dict().items() if not torch.equal(v, before[k])}
    assert changed and all("lora_" in k or "embed_tokens" in k or "lm_head" in k for k in changed)
    for modality in ("image", "audio", "video"):
        generated = model.generate(processor, [talks[0][:1]], modalities=(modality,), steps=2)[0]
        assert [part["type"] for part in generated] == [modality]

    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    from safetensors.torch import load_file

    kept = set(load_file(tmp_path / "model.safetensors"))
    assert not kept & model.published_weights() and any("lora_" in name for name in kept)
    assert "decoders.image.unet.conv_in.extra.weight" in kept
    again = CoDi2ForConditionalGeneration.from_pretrained(tmp_path).eval()
    theirs = again.state_dict()
    different = [k for k, v in model.state_dict().items() if not torch.equal(v, theirs[k])]
    assert not different
    assert CoDi2Processor.from_pretrained(tmp_path).tokenizer.chat_template == LLAMA_2_TEMPLATE


def test_a_source_of_another_shape_is_named(shrunk):
    config = CoDi2Config.preset("paper", **{**shrunk, "llm": {**LLAMA, "num_hidden_layers": 3}})
    with pytest.raises(ValueError, match=r"num_hidden_layers is 2, config\.llm has 3"):
        CoDi2ForConditionalGeneration.build(config)
    config = CoDi2Config.preset("paper", **{**shrunk, "feature_dim": 16})
    with pytest.raises(ValueError, match="feature_dim is 16, but features of imagebind have width 32"):
        CoDi2ForConditionalGeneration.build(config)
    with pytest.raises(ValueError, match="is the family 'clip', which is missing in `families`"):
        CoDi2Config.preset("paper", **{**shrunk, "image_encoder": "clip"})
