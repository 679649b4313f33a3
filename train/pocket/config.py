"""The architecture's numbers, read from the config.json that ships with the checkpoint (spec 1.1)."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL_FOLDER = REPOSITORY / "models" / "pocket"


@dataclass(frozen=True)
class Config:
    """The keys of config.json that the forward pass reads, under the same names."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_hash_layers: int
    num_attention_heads: int
    head_dim: int
    qk_rope_head_dim: int
    q_lora_rank: int
    o_groups: int
    o_lora_rank: int
    sliding_window: int
    compress_ratios: tuple[int, ...]
    compress_rope_theta: float
    rope_theta: float
    rope_scaling: dict
    index_n_heads: int
    index_head_dim: int
    index_topk: int
    n_routed_experts: int
    num_experts_per_tok: int
    moe_intermediate_size: int
    routed_scaling_factor: float
    swiglu_limit: float
    hc_mult: int
    hc_sinkhorn_iters: int
    hc_eps: float
    rms_norm_eps: float

    @staticmethod
    def load(path: Path | str = MODEL_FOLDER / "config.json") -> Config:
        raw = json.loads(Path(path).read_text())
        values = {f.name: raw[f.name] for f in fields(Config)}
        values["compress_ratios"] = tuple(values["compress_ratios"])
        return Config(**values)

    @property
    def main_ratios(self) -> tuple[int, ...]:
        return self.compress_ratios[: self.num_hidden_layers]

    @property
    def nope_head_dim(self) -> int:
        return self.head_dim - self.qk_rope_head_dim
