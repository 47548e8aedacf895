"""Tiny random models of every family, saved as users have them: config, safetensors, tokenizer, preprocessing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

TINY = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
WORDS = ["a", "picture", "of", "the", "sea", "cat", "dog", "red", "green", "blue", "long", "tale"]


def save(folder: Path, make: Callable[[Any], Any]) -> Path:
    """`make(transformers)` gives the model; its weights are drawn from a seed of their own."""
    import transformers

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make(transformers)
    model.eval().save_pretrained(folder)
    return folder


def save_tokenizer(folder: Path, longest: int, special: tuple[str, ...] = ("<pad>", "<s>", "</s>", "<unk>")) -> None:
    """Whole words; every text begins with 1 and ends with 2, 0 pads."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=longest,
    ).save_pretrained(folder)


def clip(folder: Path, width: int = 16) -> Path:
    from transformers import CLIPImageProcessorPil

    save(
        folder,
        lambda t: t.CLIPModel(
            t.CLIPConfig(
                projection_dim=width,
                text_config=dict(TINY, vocab_size=40, max_position_embeddings=12, **IDS),
                vision_config=dict(TINY, hidden_size=48, image_size=32, patch_size=8),
            )
        ),
    )
    save_tokenizer(folder, 12)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def siglip(folder: Path) -> Path:
    from transformers import SiglipImageProcessorPil

    save(
        folder,
        lambda t: t.SiglipModel(
            t.SiglipConfig(
                text_config=dict(TINY, vocab_size=40, max_position_embeddings=12, **IDS),
                vision_config=dict(TINY, image_size=32, patch_size=8),
            )
        ),
    )
    save_tokenizer(folder, 12)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def siglip2(folder: Path) -> Path:
    from transformers import Siglip2ImageProcessorPil

    save(
        folder,
        lambda t: t.Siglip2Model(
            t.Siglip2Config(
                text_config=dict(TINY, vocab_size=40, max_position_embeddings=12, **IDS),
                vision_config=dict(TINY, num_patches=16, patch_size=8),
            )
        ),
    )
    save_tokenizer(folder, 12)
    Siglip2ImageProcessorPil(patch_size=8, max_num_patches=12).save_pretrained(folder)
    return folder


def clap(folder: Path, fused: bool = False) -> Path:
    from transformers import ClapFeatureExtractor

    audio = {
        "window_size": 8,
        "num_mel_bins": 64,
        "spec_size": 256,
        "patch_size": 16,
        "patch_stride": [16, 16],
        "patch_embeds_hidden_size": 16,
        "hidden_size": 32,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "num_hidden_layers": 2,
        "enable_fusion": fused,
    }
    text = dict(TINY, vocab_size=40, max_position_embeddings=14, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    save(folder, lambda t: t.ClapModel(t.ClapConfig(text_config=text, audio_config=audio, projection_dim=16)))
    save_tokenizer(folder, 12)
    ClapFeatureExtractor(truncation="fusion" if fused else "rand_trunc").save_pretrained(folder)
    return folder


def whisper(folder: Path) -> Path:
    from transformers import WhisperFeatureExtractor

    settings = {
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 1,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 37,
        "decoder_ffn_dim": 37,
        "vocab_size": 40,
        "max_source_positions": 100,
        "max_target_positions": 12,
        "decoder_start_token_id": 1,
        **IDS,
    }
    save(folder, lambda t: t.WhisperModel(t.WhisperConfig(**settings)))
    WhisperFeatureExtractor(chunk_length=2).save_pretrained(folder)
    return folder


def pe_av(folder: Path) -> Path:
    from transformers import PeAudioFeatureExtractor, PeVideoVideoProcessor

    hidden = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "head_dim": 32,
    }
    dac = {
        "model_type": "dac",
        "downsampling_ratios": [2, 8, 10, 12],
        "encoder_hidden_size": 4,
        "codebook_dim": 16,
        "n_codebooks": 1,
    }
    vit = {
        "architecture": "vit_pe_core_tiny_patch16_384",
        "do_pooling": True,
        "num_classes": 32,
        "global_pool": "map",
        "model_args": {"img_size": 32, "depth": 2},
    }
    text = dict(TINY, model_type="modernbert", vocab_size=200, cls_token_id=1, sep_token_id=2, **IDS)
    save(
        folder,
        lambda t: t.PeAudioVideoModel(
            t.PeAudioVideoConfig(
                text_config=text,
                audio_video_config=dict(
                    hidden,
                    audio_config=dict(hidden, model_type="pe_audio_encoder", dac_config=dac),
                    video_config=dict(hidden, model_type="pe_video_encoder", vision_config=vit),
                ),
            )
        ),
    )
    save_tokenizer(folder, 12)
    PeAudioFeatureExtractor().save_pretrained(folder)
    PeVideoVideoProcessor(
        do_resize=True,
        size={"height": 32, "width": 32},
        do_rescale=True,
        do_normalize=True,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        do_sample_frames=False,
    ).save_pretrained(folder)
    return folder


def sentence(folder: Path) -> Path:
    save(folder, lambda t: t.BertModel(t.BertConfig(**TINY, vocab_size=40, max_position_embeddings=12, pad_token_id=0)))
    save_tokenizer(folder, 12)
    return folder
