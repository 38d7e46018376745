"""Random assistant checkpoints for the tiny models, and a plain torch version of spec 7.5."""

import json

import mlx.core as mx
import numpy as np
import torch

from mlx_gemma4.drafter_config import AssistantConfig, assistant_tensors

CENTROIDS, TOP = 16, 4


def assistant_json(model, arch: str) -> dict:
    """``config.json`` of an assistant for a tiny model, in the published form."""
    text = model.config.text
    full = text.layer(text.last_own_layer("full_attention"))
    edge = bool(text.hidden_size_per_layer_input)
    unified = arch == "12b"
    own = {
        "model_type": "gemma4_unified_text" if unified else "gemma4_text",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
        "num_attention_heads": 4,
        "num_key_value_heads": text.num_key_value_heads,
        "num_global_key_value_heads": full.kv_heads,
        "attention_k_eq_v": not edge,
        "head_dim": text.head_dim,
        "global_head_dim": full.head_dim,
        "sliding_window": text.sliding_window,
        "vocab_size": text.vocab_size,
        "num_kv_shared_layers": 0,
        "hidden_size_per_layer_input": 0,
        "vocab_size_per_layer_input": 0,
        "enable_moe_block": False,
        "use_double_wide_mlp": False,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "tie_word_embeddings": True,
    }
    if unified:
        own["use_bidirectional_attention"] = None
    return {
        "model_type": "gemma4_unified_assistant" if unified else "gemma4_assistant",
        "architectures": [f"Gemma4{'Unified' if unified else ''}AssistantForCausalLM"],
        "backbone_hidden_size": text.hidden_size,
        "use_ordered_embeddings": edge,
        "num_centroids": CENTROIDS,
        "centroid_intermediate_top_k": TOP,
        "tie_word_embeddings": True,
        "text_config": own,
    }


def random_assistant(folder, model, arch: str, seed: int = 0):
    """Write a random assistant in the published layout; returns the folder."""
    folder.mkdir(parents=True)
    raw = assistant_json(model, arch)
    (folder / "config.json").write_text(json.dumps(raw))
    random = np.random.default_rng(seed)
    tensors = {}
    for name, spec in assistant_tensors(AssistantConfig.from_json(raw)).items():
        if spec.role in ("norm", "scalar"):
            value = random.uniform(0.5, 1.5, spec.shape)
        else:
            value = random.normal(0, spec.shape[-1] ** -0.5, spec.shape)
        tensors[published(name)] = mx.array(value.astype(np.float32))
    if raw["use_ordered_embeddings"]:
        order = random.permutation(raw["text_config"]["vocab_size"])
        tensors["masked_embedding.token_ordering"] = mx.array(order.astype(np.int64))
    mx.save_safetensors(str(folder / "model.safetensors"), tensors, {"format": "pt"})
    return folder


def published(name: str) -> str:
    if name.startswith(("pre_", "post_projection")):
        return name
    return f"masked_embedding.{name}" if name.startswith("centroids") else f"model.{name}"


def torch_draft(folder, embedded, hidden, position, kv):
    """One draft step written out from the specification, for one token.

    Args:
        folder: the checkpoint.
        embedded, hidden: [backbone].
        position: of the last token.
        kv: (keys, values) [kv heads, time, head dim] by kind.

    Returns:
        Logits [vocabulary] (tokens outside the best groups at min - 1) and the next hidden state.
    """
    raw = json.loads((folder / "config.json").read_text())
    own = raw["text_config"]
    loaded = mx.load(str(folder / "model.safetensors"))
    w = {name.removeprefix("model."): torch.tensor(np.array(a)) for name, a in loaded.items()}

    def norm(x, weight):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * weight

    def rotate(q, full):
        pairs, base = q.shape[-1] // 2, 1e6 if full else 1e4
        turning = int(0.25 * pairs) if full else pairs
        rates = torch.zeros(pairs)
        rates[:turning] = base ** (-torch.arange(turning) / pairs)
        angle = position * rates
        first, second = q[:, :pairs], q[:, pairs:]
        cos, sin = angle.cos(), angle.sin()
        return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)

    x = w["pre_projection.weight"] @ torch.cat([embedded, hidden])
    for index, kind in enumerate(own["layer_types"]):
        path = f"layers.{index}."
        keys, values = kv[kind]
        h = norm(x, w[path + "input_layernorm.weight"])
        q = (w[path + "self_attn.q_proj.weight"] @ h).reshape(own["num_attention_heads"], -1)
        q = rotate(norm(q, w[path + "self_attn.q_norm.weight"]), kind == "full_attention")
        heads = [
            torch.softmax(keys[g] @ query, -1) @ values[g]
            for query, g in zip(q, _groups(len(q), len(keys)), strict=True)
        ]
        h = w[path + "self_attn.o_proj.weight"] @ torch.cat(heads)
        x = x + norm(h, w[path + "post_attention_layernorm.weight"])
        h = norm(x, w[path + "pre_feedforward_layernorm.weight"])
        gate = torch.nn.functional.gelu(w[path + "mlp.gate_proj.weight"] @ h, approximate="tanh")
        h = w[path + "mlp.down_proj.weight"] @ (gate * (w[path + "mlp.up_proj.weight"] @ h))
        x = x + norm(h, w[path + "post_feedforward_layernorm.weight"])
        x = x * w[path + "layer_scalar"]
    x = norm(x, w["norm.weight"])
    table = w["embed_tokens.weight"]
    following = w["post_projection.weight"] @ x
    if not raw["use_ordered_embeddings"]:
        return table @ x, following
    groups = (w["masked_embedding.centroids.weight"] @ x).topk(TOP).indices
    ids = w["masked_embedding.token_ordering"].reshape(CENTROIDS, -1)[groups].reshape(-1)
    scores = table[ids] @ x
    logits = torch.full((len(table),), float(scores.min()) - 1)
    logits[ids] = scores
    return logits, following


def _groups(heads: int, groups: int) -> list[int]:
    return [head // (heads // groups) for head in range(heads)]
