"""Writes the tiny seeded checkpoint of tests/golden/tiny in the official layout (spec section 2).

    python3 tests/oracle/make_checkpoint.py [OUT_DIR]

It has every layer kind, two FP8 blocks along K, and weights scaled so that activations stay O(1)
while the SwiGLU clamp, the router bias, the sinks and the index selection all have something to do.
`export_transformers` writes the same weights, decoded, under the names of spec 2.6.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

import formats

SEED = 20260424
TINY = Path(__file__).resolve().parents[1] / "golden" / "tiny"

CONFIG = {
    "architectures": ["DeepseekV4ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "expert_dtype": "fp4",
    "hc_eps": 1e-06,
    "hc_mult": 4,
    "hc_sinkhorn_iters": 20,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 256,
    "index_head_dim": 64,
    "index_n_heads": 4,
    "index_topk": 16,
    "initializer_range": 0.02,
    "max_position_embeddings": 1048576,
    "model_type": "deepseek_v4",
    "moe_intermediate_size": 128,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_attention_heads": 4,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 6,
    "num_hash_layers": 2,
    "num_key_value_heads": 1,
    "num_nextn_predict_layers": 1,
    "o_groups": 2,
    "o_lora_rank": 64,
    "q_lora_rank": 128,
    "qk_rope_head_dim": 64,
    "quantization_config": {
        "activation_scheme": "dynamic",
        "fmt": "e4m3",
        "quant_method": "fp8",
        "scale_fmt": "ue8m0",
        "weight_block_size": [128, 128],
    },
    "rms_norm_eps": 1e-06,
    "rope_scaling": {
        "beta_fast": 32,
        "beta_slow": 1,
        "factor": 16,
        "original_max_position_embeddings": 65536,
        "type": "yarn",
    },
    "rope_theta": 10000,
    "routed_scaling_factor": 1.5,
    "scoring_func": "sqrtsoftplus",
    "sliding_window": 128,
    "swiglu_limit": 10.0,
    "tie_word_embeddings": False,
    "topk_method": "noaux_tc",
    "torch_dtype": "bfloat16",
    "transformers_version": "4.57.1",
    "use_cache": True,
    "vocab_size": 512,
    "compress_rope_theta": 160000,
    "compress_ratios": [0, 0, 4, 128, 4, 128, 0],
}

# Sub-layer outputs against a stream of O(1): small enough that one rounding stays one rounding
# and does not grow from layer to layer, as it would in a random network with O(1) updates.
UPDATE_GAIN = 0.5
# RMS of w1.x and w3.x. One row in sixteen of each has BOOST times that and meets the clamp at 10.
SWIGLU_GAIN = 1.5
SWIGLU_BOOST = 6.0
SWIGLU_RMS = 3.1  # of silu(g) * u with the two above
# RMS of the part that all embeddings share; it makes the indexer's head weights mostly positive.
COMMON_RMS = 0.7


class Builder:
    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)
        self.tensors: dict[str, tuple[str, np.ndarray]] = {}
        self.common = self.normal(CONFIG["hidden_size"])

    def normal(self, *shape: int, std: float = 1.0) -> np.ndarray:
        return self.rng.standard_normal(shape) * std

    def f32(self, name: str, value: np.ndarray) -> None:
        # 13 significant bits: more than bf16 keeps, so that a wrong rounding shows, yet the file
        # compresses.
        mantissa, exponent = np.frexp(value)
        value = np.ldexp(np.rint(mantissa * 8192) / 8192, exponent)
        self.tensors[name] = ("F32", value.astype(np.float32))

    def bf16(self, name: str, value: np.ndarray) -> None:
        self.tensors[name] = ("BF16", formats.bf16_bits(value))

    def norm(self, name: str, size: int, mean: float = 1.0) -> None:
        self.bf16(name + ".weight", mean * (1 + self.normal(size, std=0.2)))

    def fp8(self, name: str, out_dim: int, in_dim: int, gain: float | np.ndarray = 1.0) -> None:
        """128x128 blocks whose magnitudes differ by up to 4 and whose scales by more.

        gain: the RMS of the output for an input of RMS 1; one number, or [out_dim, 1].
        """
        grid = (-(-out_dim // 128), -(-in_dim // 128))
        magnitude = np.exp2(self.rng.integers(-1, 2, grid))
        magnitude /= np.sqrt((magnitude**2).mean())
        value = self.normal(out_dim, in_dim) * gain * in_dim**-0.5
        value *= np.repeat(np.repeat(magnitude, 128, 0), 128, 1)[:out_dim, :in_dim]
        exponent = np.empty(grid, np.int64)
        for r in range(grid[0]):
            for c in range(grid[1]):
                tile = value[r * 128 : r * 128 + 128, c * 128 : c * 128 + 128]
                full = formats.scale_exponent(np.abs(tile).max(), formats.E4M3_MAX)
                exponent[r, c] = full + self.rng.integers(0, 4)  # not always the whole range
                tile[...] = formats.round_e4m3(np.ldexp(tile, -exponent[r, c]))
        self.tensors[name + ".weight"] = ("F8_E4M3", formats.e4m3_bits(value))
        self.tensors[name + ".scale"] = ("F8_E8M0", (exponent + 127).astype(np.uint8))

    def fp4(self, name: str, out_dim: int, in_dim: int, gain: float | np.ndarray = 1.0) -> None:
        """One scale per row and 32 columns, over 2^-3 .. 2^1 around the mean."""
        shift = self.rng.integers(-2, 2, (out_dim, in_dim // 32))
        value = self.normal(out_dim, in_dim // 32, 32) * np.exp2(shift)[..., None]
        value *= np.reshape(gain, (-1, 1, 1)) * in_dim**-0.5
        value /= np.sqrt((np.exp2(shift) ** 2).mean())
        exponent = formats.scale_exponent(np.abs(value).max(-1), formats.E2M1_MAX)
        scaled = np.ldexp(value, -exponent[..., None]).reshape(out_dim, in_dim)
        codes = formats.e2m1_codes(scaled) | np.where(np.signbit(scaled), 8, 0).astype(np.uint8)
        self.tensors[name + ".weight"] = ("I8", formats.e2m1_pack(codes))
        self.tensors[name + ".scale"] = ("F8_E8M0", (exponent + 127).astype(np.uint8))

    # -------------------------------------------------------- model parts

    def hyper_connection(self, prefix: str, rows: int, parts: int, c: dict) -> None:
        width = c["hc_mult"] * c["hidden_size"]
        self.f32(f"{prefix}_fn", self.normal(rows, width, std=width**-0.5))
        self.f32(f"{prefix}_base", self.normal(rows, std=0.5))
        self.f32(f"{prefix}_scale", self.rng.uniform(0.5, 1.5, parts))

    def compressor(self, prefix: str, ratio: int, width: int, c: dict) -> None:
        lanes, D = 2 if ratio == 4 else 1, c["hidden_size"]
        self.f32(f"{prefix}.ape", self.normal(ratio, lanes * width, std=0.7))
        self.bf16(f"{prefix}.wkv.weight", self.normal(lanes * width, D, std=D**-0.5))
        self.bf16(f"{prefix}.wgate.weight", self.normal(lanes * width, D, std=D**-0.5))
        self.norm(f"{prefix}.norm", width, mean=1.2)

    def attention(self, prefix: str, ratio: int, c: dict) -> None:
        D, H, d, R = (c[k] for k in ("hidden_size", "num_attention_heads", "head_dim",
                                     "q_lora_rank"))
        groups, rank = c["o_groups"], c["o_lora_rank"]
        self.fp8(f"{prefix}.wq_a", R, D)
        self.norm(f"{prefix}.q_norm", R)
        self.fp8(f"{prefix}.wq_b", H * d, R)
        self.fp8(f"{prefix}.wkv", d, D)
        self.norm(f"{prefix}.kv_norm", d, mean=1.5)
        # Attention averages rows, so its output is small; wo_a brings it back to O(1).
        self.fp8(f"{prefix}.wo_a", groups * rank, H * d // groups, gain=2)
        self.fp8(f"{prefix}.wo_b", D, groups * rank, gain=UPDATE_GAIN)
        self.f32(f"{prefix}.attn_sink", 1 + self.normal(H))
        if ratio:
            self.compressor(f"{prefix}.compressor", ratio, d, c)
        if ratio == 4:
            heads, width = c["index_n_heads"], c["index_head_dim"]
            self.fp8(f"{prefix}.indexer.wq_b", heads * width, R)
            weights = self.normal(heads, D) + 3 * self.common / np.sqrt(D)
            self.bf16(f"{prefix}.indexer.weights_proj.weight", weights * D**-0.5)
            self.compressor(f"{prefix}.indexer.compressor", ratio, width, c)

    def moe(self, prefix: str, hashed: bool, c: dict) -> None:
        D, I, E, k = (c[n] for n in ("hidden_size", "moe_intermediate_size", "n_routed_experts",
                                     "num_experts_per_tok"))
        # Orthogonal to what all tokens share, lest all of them choose the same experts.
        gate = self.normal(E, D, std=1.5 * D**-0.5)
        gate -= np.outer(gate @ self.common, self.common) / (self.common @ self.common)
        self.bf16(f"{prefix}.gate.weight", gate)
        if hashed:
            keys = self.rng.random((c["vocab_size"], E))
            self.tensors[f"{prefix}.gate.tid2eid"] = ("I64", np.argsort(keys, axis=1)[:, :k])
        else:
            self.f32(f"{prefix}.gate.bias", self.normal(E, std=0.3))
        boosted = np.arange(I)[:, None] % 16
        gate = SWIGLU_GAIN * np.where(boosted == 3, SWIGLU_BOOST, 1)
        up = SWIGLU_GAIN * np.where(boosted == 11, SWIGLU_BOOST, 1)
        for kind, name in [(self.fp8, "shared_experts")] + [
                (self.fp4, f"experts.{e}") for e in range(E)]:
            kind(f"{prefix}.{name}.w1", I, D, gate)
            kind(f"{prefix}.{name}.w3", I, D, up)
            kind(f"{prefix}.{name}.w2", D, I, UPDATE_GAIN / SWIGLU_RMS)

    def layer(self, name: str, index: int, c: dict) -> None:
        rows = c["hc_mult"] * (c["hc_mult"] + 2)
        self.norm(f"{name}.attn_norm", c["hidden_size"])
        self.norm(f"{name}.ffn_norm", c["hidden_size"])
        self.hyper_connection(f"{name}.hc_attn", rows, 3, c)
        self.hyper_connection(f"{name}.hc_ffn", rows, 3, c)
        self.attention(f"{name}.attn", c["compress_ratios"][index], c)
        self.moe(f"{name}.ffn", index < c["num_hash_layers"], c)

    def model(self, c: dict) -> None:
        V, D, S = c["vocab_size"], c["hidden_size"], c["hc_mult"]
        self.bf16("embed.weight", self.normal(V, D) + COMMON_RMS * self.common)
        for index in range(c["num_hidden_layers"]):
            self.layer(f"layers.{index}", index, c)
        self.norm("norm", D)
        self.bf16("head.weight", self.normal(V, D, std=2 * D**-0.5))
        self.hyper_connection("hc_head", S, 1, c)
        self.layer("mtp.0", c["num_hidden_layers"], c)
        self.fp8("mtp.0.e_proj", D, D)
        self.fp8("mtp.0.h_proj", D, D)
        for name in ("enorm", "hnorm", "norm"):
            self.norm(f"mtp.0.{name}", D)
        self.hyper_connection("mtp.0.hc_head", S, 1, c)


def write(folder: Path, seed: int = SEED) -> None:
    builder = Builder(seed)
    builder.model(CONFIG)
    tensors = builder.tensors
    folder.mkdir(parents=True, exist_ok=True)
    names = list(tensors)
    half = names.index("layers.3.attn_norm.weight")
    weight_map, total = {}, 0
    for number, part in enumerate((names[:half], names[half:]), start=1):
        shard = f"model-{number:05d}-of-00002.safetensors"
        formats.write_safetensors(folder / shard, {n: tensors[n] for n in part})
        weight_map.update({n: shard for n in part})
        total += sum(t.size * np.dtype(formats.RAW_DTYPE[d]).itemsize
                     for d, t in (tensors[n] for n in part))
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")


# ---------------------------------------------------------------- transformers naming (spec 2.6)

GLOBAL_NAMES = {"embed.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight",
                "head.weight": "lm_head.weight", "hc_head_fn": "model.hc_head.hc_fn",
                "hc_head_base": "model.hc_head.hc_base", "hc_head_scale": "model.hc_head.hc_scale"}
VECTOR_NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "attn.attn_sink": "self_attn.sinks",
    "attn.q_norm.weight": "self_attn.q_a_norm.weight",
    "attn.kv_norm.weight": "self_attn.kv_norm.weight",
    "ffn.gate.weight": "mlp.gate.weight",
    "ffn.gate.bias": "mlp.gate.e_score_correction_bias",
    "ffn.gate.tid2eid": "mlp.gate.tid2eid",
}
for _site in ("attn", "ffn"):
    for _part in ("fn", "base", "scale"):
        VECTOR_NAMES[f"hc_{_site}_{_part}"] = f"{_site}_hc.{_part}"
for _ours, _theirs in (("attn.compressor", "self_attn.compressor"),
                       ("attn.indexer.compressor", "self_attn.compressor.indexer")):
    VECTOR_NAMES |= {f"{_ours}.wkv.weight": f"{_theirs}.kv_proj.weight",
                     f"{_ours}.wgate.weight": f"{_theirs}.gate_proj.weight",
                     f"{_ours}.norm.weight": f"{_theirs}.kv_norm.weight",
                     f"{_ours}.ape": f"{_theirs}.position_bias"}
VECTOR_NAMES["attn.indexer.weights_proj.weight"] = (
    "self_attn.compressor.indexer.scorer.weights_proj.weight")
MATRIX_NAMES = {
    "attn.wq_a": "self_attn.q_a_proj", "attn.wq_b": "self_attn.q_b_proj",
    "attn.wkv": "self_attn.kv_proj", "attn.wo_a": "self_attn.o_a_proj",
    "attn.wo_b": "self_attn.o_b_proj",
    "attn.indexer.wq_b": "self_attn.compressor.indexer.q_b_proj",
    "ffn.shared_experts.w1": "mlp.shared_experts.gate_proj",
    "ffn.shared_experts.w3": "mlp.shared_experts.up_proj",
    "ffn.shared_experts.w2": "mlp.shared_experts.down_proj",
}


def transformers_tensors(checkpoint: formats.Checkpoint) -> dict[str, np.ndarray]:
    """All main-model weights, decoded, as float32 (tid2eid int64). The MTP block has no place."""
    c = checkpoint.config
    out = {theirs: checkpoint.tensor(ours) for ours, theirs in GLOBAL_NAMES.items()}
    for index in range(c["num_hidden_layers"]):
        ours, theirs = f"layers.{index}", f"model.layers.{index}"
        for name, target in VECTOR_NAMES.items():
            if f"{ours}.{name}" in checkpoint:
                out[f"{theirs}.{target}"] = checkpoint.tensor(f"{ours}.{name}")
        for name, target in MATRIX_NAMES.items():
            if f"{ours}.{name}.weight" in checkpoint:
                out[f"{theirs}.{target}.weight"] = checkpoint.matrix(f"{ours}.{name}")
        expert = [[checkpoint.matrix(f"{ours}.ffn.experts.{e}.{w}") for w in ("w1", "w3", "w2")]
                  for e in range(c["n_routed_experts"])]
        out[f"{theirs}.mlp.experts.gate_up_proj"] = np.stack(
            [np.concatenate([w1, w3]) for w1, w3, _ in expert])
        out[f"{theirs}.mlp.experts.down_proj"] = np.stack([w2 for _, _, w2 in expert])
    return out


def export_transformers(source: Path, folder: Path) -> None:
    """Writes config.json and one float32 model.safetensors that transformers can load."""
    checkpoint = formats.Checkpoint(source)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: ("I64" if value.dtype == np.int64 else "F32", value)
               for name, value in transformers_tensors(checkpoint).items()}
    formats.write_safetensors(folder / "model.safetensors", tensors)
    config = {k: v for k, v in checkpoint.config.items()
              if k not in ("quantization_config", "expert_dtype", "transformers_version")}
    config["torch_dtype"] = "float32"
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else TINY)
