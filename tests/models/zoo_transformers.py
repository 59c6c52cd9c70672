"""transformers: language, vision, audio and decisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import transformers as hf
from torch import nn
from zoo import Trace, add, precision_of

Inputs = Mapping[str, torch.Tensor]

GENERATOR = torch.Generator().manual_seed(3)
TOKENS = torch.randint(0, 64, (2, 7), generator=GENERATOR)
PIXELS = torch.randn(2, 3, 32, 32, generator=GENERATOR)
WAVES = torch.randn(2, 800, generator=GENERATOR)
MEL = torch.randn(2, 16, 40, generator=GENERATOR)
DECISIONS = {
    "states": torch.randn(2, 5, 11, generator=GENERATOR),
    "actions": torch.randn(2, 5, 3, generator=GENERATOR),
    "rewards": torch.randn(2, 5, 1, generator=GENERATOR),
    "returns_to_go": torch.randn(2, 5, 1, generator=GENERATOR),
    "timesteps": torch.arange(5).repeat(2, 1),
    "attention_mask": torch.ones(2, 5, dtype=torch.long),
}
OUTPUTS = ("logits", "last_hidden_state", "action_preds", "state_preds", "return_preds")


def _trace(inputs: Inputs, options: Mapping[str, Any], model: nn.Module) -> list[torch.Tensor]:
    dtype = precision_of(model)
    given = {k: v.to(dtype) if v.is_floating_point() else v for k, v in inputs.items()}
    results = model(**given, **options)
    return [getattr(results, name) for name in OUTPUTS if getattr(results, name, None) is not None]


def _add(
    name: str,
    model: Any,
    config: Callable[..., Any],
    inputs: Mapping[str, torch.Tensor],
    share: float = 0.0,
    **sizes: Any,
) -> None:
    options = sizes.pop("call", {})

    def make() -> tuple[nn.Module, Trace]:
        return model(config(**sizes)), partial(_trace, inputs, options)

    add("transformers", name, make, share)


TEXT = {"input_ids": TOKENS}
CACHE = {"call": {"use_cache": False}}
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
GPT = {"n_layer": 2, "n_embd": 64, "n_head": 4, "vocab_size": 64, "n_positions": 32}

_add("GPT-2", hf.GPT2LMHeadModel, hf.GPT2Config, TEXT, 0.8, **GPT, **CACHE)
_add(
    "BERT",
    hf.BertForSequenceClassification,
    hf.BertConfig,
    TEXT,
    0.95,
    **SIZES,
    vocab_size=64,
    max_position_embeddings=32,
)
_add(
    "DistilBERT",
    hf.DistilBertModel,
    hf.DistilBertConfig,
    TEXT,
    vocab_size=64,
    dim=64,
    hidden_dim=128,
    n_layers=2,
    n_heads=4,
)
_add("ALBERT", hf.AlbertModel, hf.AlbertConfig, TEXT, **SIZES, vocab_size=64, embedding_size=32)
_add(
    "T5",
    hf.T5ForConditionalGeneration,
    hf.T5Config,
    {**TEXT, "decoder_input_ids": TOKENS[:, :5]},
    0.9,
    vocab_size=64,
    d_model=64,
    d_kv=16,
    d_ff=128,
    num_layers=2,
    num_heads=4,
    **CACHE,
)
_add(
    "Whisper",
    hf.WhisperForConditionalGeneration,
    hf.WhisperConfig,
    {"input_features": MEL, "decoder_input_ids": TOKENS[:, :5]},
    0.9,
    vocab_size=64,
    num_mel_bins=16,
    d_model=64,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=128,
    decoder_ffn_dim=128,
    max_source_positions=20,
    max_target_positions=16,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    decoder_start_token_id=1,
    **CACHE,
)
_add("Llama", hf.LlamaForCausalLM, hf.LlamaConfig, TEXT, **SIZES, vocab_size=64, **CACHE)
_add(
    "Mistral, grouped queries",
    hf.MistralForCausalLM,
    hf.MistralConfig,
    TEXT,
    **SIZES,
    num_key_value_heads=2,
    vocab_size=64,
    **CACHE,
)
_add(
    "Qwen2-MoE",
    hf.Qwen2MoeForCausalLM,
    hf.Qwen2MoeConfig,
    TEXT,
    **SIZES,
    num_key_value_heads=2,
    vocab_size=64,
    num_experts=4,
    num_experts_per_tok=2,
    moe_intermediate_size=32,
    shared_expert_intermediate_size=64,
    **CACHE,
)
_add(
    "ViT",
    hf.ViTForImageClassification,
    hf.ViTConfig,
    {"pixel_values": PIXELS},
    0.95,
    **SIZES,
    image_size=32,
    patch_size=8,
)
_add(
    "Swin",
    hf.SwinModel,
    hf.SwinConfig,
    {"pixel_values": PIXELS},
    0.9,
    image_size=32,
    patch_size=2,
    window_size=4,
    embed_dim=16,
    depths=[2, 2],
    num_heads=[2, 4],
)
_add(
    "Decision Transformer",
    hf.DecisionTransformerModel,
    hf.DecisionTransformerConfig,
    DECISIONS,
    state_dim=11,
    act_dim=3,
    hidden_size=64,
    max_ep_len=16,
    n_layer=2,
    n_head=4,
    n_positions=32,
    vocab_size=1,
)
_add(
    "wav2vec2",
    hf.Wav2Vec2Model,
    hf.Wav2Vec2Config,
    {"input_values": WAVES},
    **SIZES,
    conv_dim=(32, 32, 32),
    conv_stride=(5, 2, 2),
    conv_kernel=(10, 3, 3),
    num_feat_extract_layers=3,
    num_conv_pos_embeddings=8,
    num_conv_pos_embedding_groups=4,
    vocab_size=32,
)
