"""Writes the trained weights as an official checkpoint (spec section 2).

    python -m pocket.export --run RUN [--out models/pocket]

FP4 experts (I8 container, E8M0 scales per 32), FP8 linears (E8M0 scales per 128x128), BF16 and F32
tensors, int64 hash tables; one shard and its index. config.json and tokenizer.json are already there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import quant
from .config import MODEL_FOLDER, Config
from .model import Attention, Block, Compressor, HyperHead, Linear, MoE, Pocket

SHARD = "model-00001-of-00001.safetensors"
E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])


class Writer:
    """Collects tensors as (dtype name, shape, bytes) in the order of the file."""

    def __init__(self) -> None:
        self.tensors: dict[str, tuple[str, tuple[int, ...], bytes]] = {}

    def f32(self, name: str, value: Tensor) -> None:
        self._add(name, "F32", value.shape, value.detach().float().cpu().numpy().astype("<f4").tobytes())

    def i64(self, name: str, value: Tensor) -> None:
        self._add(name, "I64", value.shape, value.cpu().numpy().astype("<i8").tobytes())

    def bf16(self, name: str, value: Tensor) -> None:
        bits = value.detach().cpu().to(torch.bfloat16).contiguous().view(torch.int16)
        self._add(name, "BF16", value.shape, bits.numpy().tobytes())

    def fp8(self, name: str, weight: Tensor) -> None:
        values, scale = quant.fp8_weight_blocks(weight.detach().cpu())
        codes = values.to(torch.float8_e4m3fn).view(torch.uint8)
        self._add(f"{name}.weight", "F8_E4M3", values.shape, codes.numpy().tobytes())
        self._scale(f"{name}.scale", scale)

    def fp4(self, name: str, weight: Tensor) -> None:
        values, scale = quant.fp4_weight_blocks(weight.detach().cpu())
        codes = e2m1_codes(values)
        packed = codes[:, 0::2] | (codes[:, 1::2] << 4)  # even columns in the low nibble
        self._add(f"{name}.weight", "I8", packed.shape, packed.numpy().tobytes())
        self._scale(f"{name}.scale", scale)

    def _scale(self, name: str, scale: Tensor) -> None:
        exponent = torch.frexp(scale).exponent - 1 + 127
        self._add(name, "F8_E8M0", scale.shape, exponent.to(torch.uint8).numpy().tobytes())

    def _add(self, name: str, dtype: str, shape, data: bytes) -> None:
        self.tensors[name] = (dtype, tuple(shape), data)

    def write(self, folder: Path) -> int:
        header, offset = {}, 0
        for name, (dtype, shape, data) in self.tensors.items():
            header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
            offset += len(data)
        head = json.dumps(header, separators=(",", ":")).encode()
        head += b" " * (-len(head) % 8)
        with open(folder / SHARD, "wb") as f:
            f.write(len(head).to_bytes(8, "little") + head)
            f.writelines(data for _, _, data in self.tensors.values())
        index = {"metadata": {"total_size": offset}, "weight_map": {name: SHARD for name in self.tensors}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=0) + "\n")
        return offset


def e2m1_codes(values: Tensor) -> Tensor:
    """4-bit codes of exact e2m1 values; zero is never negative."""
    code = torch.searchsorted(E2M1, values.abs().contiguous())
    return (code + 8 * (values < 0)).to(torch.uint8)


# ---------------------------------------------------------------- names of the checkpoint

# How a tensor is stored, its name in the checkpoint, and its values in the model.
Entry = tuple[str, str, Tensor]


def linear_entries(name: str, linear: Linear) -> Iterator[Entry]:
    yield ("fp8", name, linear.weight) if linear.fp8 else ("bf16", f"{name}.weight", linear.weight)


def compressor_entries(name: str, compressor: Compressor) -> Iterator[Entry]:
    yield "f32", f"{name}.ape", compressor.ape
    yield from linear_entries(f"{name}.wkv", compressor.wkv)
    yield from linear_entries(f"{name}.wgate", compressor.wgate)
    yield "bf16", f"{name}.norm.weight", compressor.norm.weight


def attention_entries(name: str, attention: Attention) -> Iterator[Entry]:
    for part in ("wq_a", "wq_b", "wkv", "wo_a", "wo_b"):
        yield from linear_entries(f"{name}.{part}", getattr(attention, part))
    for part in ("q_norm", "kv_norm"):
        yield "bf16", f"{name}.{part}.weight", getattr(attention, part).weight
    yield "f32", f"{name}.attn_sink", attention.attn_sink
    if attention.compressor is not None:
        yield from compressor_entries(f"{name}.compressor", attention.compressor)
    if attention.indexer is not None:
        yield from linear_entries(f"{name}.indexer.wq_b", attention.indexer.wq_b)
        yield from linear_entries(f"{name}.indexer.weights_proj", attention.indexer.weights_proj)
        yield from compressor_entries(f"{name}.indexer.compressor", attention.indexer.compressor)


def moe_entries(name: str, moe: MoE) -> Iterator[Entry]:
    yield "bf16", f"{name}.gate.weight", moe.gate
    if moe.hashed:
        yield "i64", f"{name}.gate.tid2eid", moe.tid2eid
    else:
        yield "f32", f"{name}.gate.bias", moe.bias
    for part in ("w1", "w2", "w3"):
        yield from linear_entries(f"{name}.shared_experts.{part}", getattr(moe.shared, part))
    for e in range(moe.config.n_routed_experts):
        for part in ("w1", "w2", "w3"):
            yield "fp4", f"{name}.experts.{e}.{part}", getattr(moe, part)[e]


def block_entries(name: str, block: Block) -> Iterator[Entry]:
    for part in ("attn_norm", "ffn_norm"):
        yield "bf16", f"{name}.{part}.weight", getattr(block, part).weight
    for part in ("hc_attn", "hc_ffn"):
        for field in ("fn", "base", "scale"):
            yield "f32", f"{name}.{part}_{field}", getattr(getattr(block, part), field)
    yield from attention_entries(f"{name}.attn", block.attn)
    yield from moe_entries(f"{name}.ffn", block.ffn)


def hyper_head_entries(prefix: str, head: HyperHead) -> Iterator[Entry]:
    for field in ("fn", "base", "scale"):
        yield "f32", f"{prefix}hc_head_{field}", getattr(head, field)


def model_entries(model: Pocket) -> Iterator[Entry]:
    yield "bf16", "embed.weight", model.embed
    for i, layer in enumerate(model.layers):
        yield from block_entries(f"layers.{i}", layer)
    yield "bf16", "norm.weight", model.norm.weight
    yield "bf16", "head.weight", model.head
    yield from hyper_head_entries("", model.hc_head)
    yield from block_entries("mtp.0", model.mtp)
    for part in ("e_proj", "h_proj"):
        yield from linear_entries(f"mtp.0.{part}", getattr(model.mtp, part))
    for part in ("enorm", "hnorm", "norm"):
        yield "bf16", f"mtp.0.{part}.weight", getattr(model.mtp, part).weight
    yield from hyper_head_entries("mtp.0.", model.mtp.hc_head)


def write_model(model: Pocket, folder: Path) -> int:
    """Bytes written."""
    out = Writer()
    for kind, name, tensor in model_entries(model):
        getattr(out, kind)(name, tensor)
    return out.write(folder)


class Reader:
    """Decodes what Writer wrote; the methods have the names of the kinds."""

    def __init__(self, folder: Path):
        raw = (folder / SHARD).read_bytes()
        length = int.from_bytes(raw[:8], "little")
        self.header = json.loads(raw[8 : 8 + length])
        self.data = raw[8 + length :]

    def _raw(self, name: str, dtype) -> np.ndarray:
        entry = self.header[name]
        begin, end = entry["data_offsets"]
        return np.frombuffer(self.data[begin:end], dtype).reshape(entry["shape"]).copy()

    def f32(self, name: str) -> Tensor:
        return torch.from_numpy(self._raw(name, "<f4"))

    def i64(self, name: str) -> Tensor:
        return torch.from_numpy(self._raw(name, "<i8"))

    def bf16(self, name: str) -> Tensor:
        return torch.from_numpy(self._raw(name, "<i2")).view(torch.bfloat16).float()

    def fp8(self, name: str) -> Tensor:
        values = torch.from_numpy(self._raw(f"{name}.weight", "u1")).view(torch.float8_e4m3fn).float()
        rows, cols = values.shape
        scale = self._scale(f"{name}.scale")
        return values * scale.repeat_interleave(128, 0)[:rows].repeat_interleave(128, 1)[:, :cols]

    def fp4(self, name: str) -> Tensor:
        packed = torch.from_numpy(self._raw(f"{name}.weight", "u1")).long()
        codes = torch.stack((packed & 15, packed >> 4), -1).flatten(-2)
        values = E2M1[codes & 7] * torch.where(codes & 8 != 0, -1.0, 1.0)
        return values * self._scale(f"{name}.scale").repeat_interleave(32, -1)

    def _scale(self, name: str) -> Tensor:
        return torch.ldexp(torch.ones(()), torch.from_numpy(self._raw(name, "u1")).int() - 127)


def read_model(folder: Path) -> Pocket:
    """The model of an exported checkpoint: its stored values as fp32 weights."""
    model = Pocket(Config.load(folder / "config.json"))
    source = Reader(folder)
    with torch.no_grad():
        for kind, name, tensor in model_entries(model):
            tensor.copy_(getattr(source, kind)(name))
    return model


def load_run(run: Path) -> Pocket:
    model = Pocket(Config.load())
    model.load_state_dict(torch.load(run / "state.pt", map_location="cpu")["model"])
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=MODEL_FOLDER)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.out != MODEL_FOLDER:
        for name in ("config.json", "tokenizer.json"):
            (args.out / name).write_bytes((MODEL_FOLDER / name).read_bytes())
    size = write_model(load_run(args.run), args.out)
    print(f"{args.out}: {size:,} bytes")


if __name__ == "__main__":
    main()
