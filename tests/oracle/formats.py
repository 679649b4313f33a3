"""Number formats and the safetensors container, in numpy (spec sections 2.4 and 10.1).

Every format is decoded to and encoded from ordinary float arrays. Nothing here knows the model.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

# ---------------------------------------------------------------- bf16


def bf16_bits(x: np.ndarray) -> np.ndarray:
    """Round to nearest even; returns the 16 stored bits. NaN is not expected."""
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    return ((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)).astype(np.uint16)


def bf16_decode(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def round_bf16(x: np.ndarray) -> np.ndarray:
    return bf16_decode(bf16_bits(x))


# ---------------------------------------------------------------- e4m3fn


def _e4m3_table() -> np.ndarray:
    code = np.arange(256)
    sign = np.where(code & 0x80, -1.0, 1.0)
    exponent, mantissa = (code >> 3) & 15, code & 7
    normal = (1 + mantissa / 8) * 2.0 ** (exponent - 7)
    subnormal = mantissa * 2.0**-9
    value = sign * np.where(exponent == 0, subnormal, normal)
    value[[0x7F, 0xFF]] = np.nan
    return value.astype(np.float32)


E4M3 = _e4m3_table()
E4M3_MAX = 448.0


def round_e4m3(x: np.ndarray) -> np.ndarray:
    """Nearest even e4m3 value of x, saturating at +-448."""
    x = np.clip(np.asarray(x, dtype=np.float64), -E4M3_MAX, E4M3_MAX)
    _, exponent = np.frexp(x)  # |x| = m * 2^exponent, 0.5 <= m < 1
    step = np.ldexp(1.0, np.maximum(exponent - 1, -6) - 3)  # spacing of the 3-bit mantissa
    return (np.rint(x / step) * step).astype(np.float32)


def e4m3_bits(x: np.ndarray) -> np.ndarray:
    """Codes of values that are already exact e4m3 values."""
    positive = E4M3[:127]
    code = np.searchsorted(positive, np.abs(x)).astype(np.uint8)
    assert np.array_equal(positive[code], np.abs(x)), "not e4m3 values"
    return code | np.where(np.signbit(x), 0x80, 0).astype(np.uint8)


# ---------------------------------------------------------------- e2m1

E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], dtype=np.float32)
E2M1_MAX = 6.0


def e2m1_codes(x: np.ndarray) -> np.ndarray:
    """Magnitude codes 0..7: nearest, ties to the even code, saturating at 6."""
    x = np.abs(np.asarray(x, dtype=np.float64))
    midpoints = (E2M1[1:].astype(np.float64) + E2M1[:-1]) / 2
    below = np.searchsorted(midpoints, x, side="left")  # a tie stays at the lower code
    above = np.searchsorted(midpoints, x, side="right")  # a tie goes to the upper code
    return np.where(below % 2 == 0, below, above).astype(np.uint8)


def round_e2m1(x: np.ndarray) -> np.ndarray:
    return np.copysign(E2M1[e2m1_codes(x)], x).astype(np.float32)


def e2m1_pack(codes: np.ndarray) -> np.ndarray:
    """4-bit codes [out, in] -> int8 [out, in/2]; even columns in the low nibble."""
    return (codes[:, 0::2] | (codes[:, 1::2] << 4)).astype(np.uint8).view(np.int8)


def e2m1_unpack(packed: np.ndarray) -> np.ndarray:
    """int8 [out, in/2] -> values [out, in]."""
    byte = packed.view(np.uint8)
    codes = np.stack([byte & 15, byte >> 4], axis=-1).reshape(byte.shape[0], -1)
    return E2M1[codes & 7] * np.where(codes & 8, np.float32(-1), np.float32(1))


# ---------------------------------------------------------------- e8m0 and block scales


def e8m0_decode(byte: np.ndarray) -> np.ndarray:
    assert not np.any(byte == 255), "e8m0 NaN"
    return np.ldexp(np.float64(1), byte.astype(np.int64) - 127)


def scale_exponent(amax: np.ndarray, fmt_max: float) -> np.ndarray:
    """ceil(log2(amax / fmt_max)), from the fp32 bits of the fp32 product (spec 10.1)."""
    product = np.asarray(amax, np.float32) * (np.float32(1) / np.float32(fmt_max))
    bits = product.view(np.uint32)
    exponent = (bits >> np.uint32(23)).astype(np.int64) - 127
    return exponent + ((bits & np.uint32(0x7FFFFF)) != 0)


def _roundtrip(x, block, fmt_max, floor, round_element):
    assert x.shape[-1] % block == 0, (x.shape, block)
    blocks = np.asarray(x, np.float32).reshape(*x.shape[:-1], -1, block)
    amax = np.maximum(np.abs(blocks).max(axis=-1, keepdims=True), np.float32(floor))
    scale = np.ldexp(np.float64(1), scale_exponent(amax, fmt_max))
    quantised = round_element(np.clip(blocks / scale, -fmt_max, fmt_max))
    return (quantised * scale).astype(np.float32).reshape(x.shape)


def fp8_roundtrip(x: np.ndarray, block: int) -> np.ndarray:
    return _roundtrip(x, block, E4M3_MAX, 1e-4, round_e4m3)


def fp4_roundtrip(x: np.ndarray, block: int) -> np.ndarray:
    return _roundtrip(x, block, E2M1_MAX, 6 * 2.0**-126, round_e2m1)


# ---------------------------------------------------------------- safetensors

# Element type of the raw bytes; formats numpy lacks are kept as their bits.
RAW_DTYPE = {"F32": "<f4", "F64": "<f8", "BF16": "<u2", "F8_E4M3": "u1", "F8_E8M0": "u1",
             "I8": "i1", "I64": "<i8"}


class Checkpoint:
    """All shards of an official checkpoint folder; tensors by name."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.config = json.loads((self.folder / "config.json").read_text())
        index = json.loads((self.folder / "model.safetensors.index.json").read_text())
        self.entries: dict[str, tuple[str, np.ndarray]] = {}
        for shard in sorted(set(index["weight_map"].values())):
            self.entries.update(read_safetensors(self.folder / shard))
        assert set(self.entries) == set(index["weight_map"]), "index and shards disagree"

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def raw(self, name: str) -> tuple[str, np.ndarray]:
        return self.entries[name]

    def tensor(self, name: str) -> np.ndarray:
        """An unscaled tensor: F32 and I64 as they are, BF16 widened to float32."""
        dtype, bits = self.entries[name]
        if dtype == "BF16":
            return bf16_decode(bits)
        assert dtype in ("F32", "I64"), (name, dtype)
        return bits

    def matrix(self, name: str) -> np.ndarray:
        """A linear's weight [out, in] as float32, dequantised exactly (spec 2.4)."""
        dtype, bits = self.entries[name + ".weight"]
        if dtype in ("BF16", "F32"):
            return self.tensor(name + ".weight")
        scale = e8m0_decode(self.entries[name + ".scale"][1])
        if dtype == "F8_E4M3":
            out_dim, in_dim = bits.shape
            per_element = np.repeat(np.repeat(scale, 128, axis=0), 128, axis=1)[:out_dim, :in_dim]
            return (E4M3[bits] * per_element).astype(np.float32)
        assert dtype == "I8", (name, dtype)
        return (e2m1_unpack(bits) * np.repeat(scale, 32, axis=1)).astype(np.float32)


def read_safetensors(path: Path) -> dict[str, tuple[str, np.ndarray]]:
    data = path.read_bytes()
    header_bytes = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_bytes])
    header.pop("__metadata__", None)
    body = memoryview(data)[8 + header_bytes :]
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        flat = np.frombuffer(body[begin:end], dtype=RAW_DTYPE[entry["dtype"]])
        tensors[name] = (entry["dtype"], flat.reshape(entry["shape"]))
    return tensors


def write_safetensors(path: Path, tensors: dict[str, tuple[str, np.ndarray]]) -> None:
    header, offset, payload = {}, 0, []
    for name, (dtype, array) in tensors.items():
        raw = np.ascontiguousarray(array, dtype=RAW_DTYPE[dtype]).tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape),
                        "data_offsets": [offset, offset + len(raw)]}
        payload.append(raw)
        offset += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(payload))
