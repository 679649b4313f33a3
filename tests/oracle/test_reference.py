"""The oracle's own tests: golden values of the spec, formats, and one-shot == token by token."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import formats
import make_checkpoint
import make_goldens
import reference
from reference import HyperConnection, Model, Numerics, Session

TINY = make_checkpoint.TINY


# ---------------------------------------------------------------- formats


def test_bf16_rounds_to_nearest_even():
    one, step = 1.0, 2.0**-7
    x = np.array([one, one + step / 2, one + 1.5 * step, one + step / 2 + 2.0**-20, -3.0])
    want = [one, one, one + 2 * step, one + step, -3.0]
    assert formats.round_bf16(x).tolist() == want


def test_e4m3_codes_survive_a_round_trip():
    codes = np.array([c for c in range(256) if c & 0x7F != 0x7F], np.uint8)
    values = formats.E4M3[codes]
    assert np.array_equal(formats.round_e4m3(values), values)
    assert np.array_equal(formats.e4m3_bits(values), codes)
    assert values.max() == 448 and values[values > 0].min() == 2.0**-9


def test_e4m3_rounds_to_nearest_even():
    x = np.array([1.0625, 1.1875, 2.0**-10, 3 * 2.0**-10, 432.0, 1000.0, -17.0])
    assert formats.round_e4m3(x).tolist() == [1.0, 1.25, 0.0, 2.0**-8, 416.0 + 32, 448.0, -16.0]


def test_e2m1_ties_go_to_the_even_code():
    x = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5, -0.75, 7])
    assert formats.round_e2m1(x).tolist() == [0, 1, 1, 2, 2, 4, 4, -1, 6]


def test_fp4_low_nibble_is_the_even_column():
    packed = formats.e2m1_pack(np.array([[1, 15, 8, 7]], np.uint8))
    assert packed.view(np.uint8).tolist() == [[0xF1, 0x78]]
    assert formats.e2m1_unpack(packed).tolist() == [[0.5, -6, 0, 6]]


@pytest.mark.parametrize(("amax", "exponent"), [(448, 0), (449, 1), (224, -1), (100, -2), (7, -6),
                                                (1, -8)])
def test_fp8_scale_exponents_of_spec_10_1(amax, exponent):
    assert formats.scale_exponent(np.array([amax]), 448)[0] == exponent


def test_fp8_scale_of_zeros_comes_from_the_floor():
    assert formats.scale_exponent(np.array([1e-4]), 448)[0] == -22


@pytest.mark.parametrize(("amax", "exponent"), [(6, 0), (6.01, 1), (3, -1), (1.5, -2), (1, -2),
                                                (0.75, -3)])
def test_fp4_scale_exponents_of_spec_10_1(amax, exponent):
    assert formats.scale_exponent(np.array([amax]), 6)[0] == exponent


def test_roundtrips_scale_each_block_by_itself():
    x = np.concatenate([np.full(64, 448.0), np.full(64, 1.0)])[None]
    assert np.array_equal(formats.fp8_roundtrip(x, 64), x)
    x = np.concatenate([np.full(32, 6.0), np.full(32, 0.125), np.full(32, 0.0)])[None]
    assert np.array_equal(formats.fp4_roundtrip(x, 32), x)


# ---------------------------------------------------------------- golden values of the spec


def golden_hc():
    i = np.arange(24.0)
    hc = HyperConnection(None, 0.1 * np.cos(i), np.array([0.5, 1.0, 2.0]))
    return reference.hc_weights(np.sin(i)[None], hc, 4, 20, 1e-6)


def test_hyper_connection_of_spec_3_6():
    pre, post, comb = golden_hc()
    close = dict(rtol=2.4e-7, atol=6e-8)  # the spec computed and printed them in fp32
    np.testing.assert_allclose(pre[0], [0.5249802, 0.6165121, 0.6018162, 0.4928917], **close)
    np.testing.assert_allclose(post[0], [0.6106078, 0.5656230, 0.9085569, 1.3506532], **close)
    np.testing.assert_allclose(comb[0], [[0.5681823, 0.3223456, 0.0810291, 0.0284406],
                                         [0.0096896, 0.1283918, 0.6283671, 0.2335515],
                                         [0.0929922, 0.0503003, 0.1421103, 0.7145978],
                                         [0.3291348, 0.4989614, 0.1484926, 0.0234091]], **close)


def test_hc_post_of_spec_3_6():
    _, post, comb = golden_hc()
    model = Model.__new__(Model)
    model.num = Numerics("exact")
    X = np.arange(1.0, 5.0).reshape(1, 4, 1)
    out = model.hc_post(np.array([[10.0]]), X, post, comb)
    want = [8.289156, 8.382106, 11.443633, 16.239504]
    np.testing.assert_allclose(out[0, :, 0], want, rtol=2.4e-7)


@pytest.mark.parametrize("z,want", [(-5, 0.081947230), (-1, 0.559697854), (0, 0.832554611),
                                    (1, 1.145976303), (5, 2.237569071), (25, 5)])
def test_router_score_of_spec_8_1(z, want):
    assert abs(reference.router_score(np.array([float(z)]))[0] - want) < 1e-9


ROPE = {"qk_rope_head_dim": 64, "rope_theta": 10000, "compress_rope_theta": 160000,
        "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 16,
                         "original_max_position_embeddings": 65536}}


@pytest.mark.parametrize(("ratio", "yarn", "want"), [
    (0, True, [1.0, 7.49894202e-01, 1.33352149e-02, 1.0e-02, 3.16227786e-03, 1.0e-03,
               7.49894185e-04, 1.33352150e-04]),
    (4, False, [1.0, 6.87656045e-01, 3.63553851e-03, 2.5e-03, 5.59017004e-04, 1.25e-04,
                8.59569991e-05, 9.08884704e-06]),
    (128, True, [1.0, 6.87656045e-01, 3.63553851e-03, 2.26562493e-03, 2.96977785e-04,
                 1.95312532e-05, 5.37231244e-06, 5.68052940e-07]),
])
def test_inverse_frequencies_of_spec_4_3(ratio, yarn, want):
    config = ROPE if yarn else ROPE | {"rope_scaling": None}
    freq = reference.inverse_frequencies(config, ratio)[[0, 1, 15, 16, 20, 24, 25, 31]]
    np.testing.assert_allclose(freq, np.float32(want), rtol=1.2e-7)  # one fp32 ulp


def test_rotation_is_interleaved_and_inverse_undoes_it():
    x = np.random.default_rng(1).standard_normal((3, 2, 128))
    freq, positions = reference.inverse_frequencies(ROPE, 0), np.array([0, 1, 4097])
    y = reference.rotate(x, positions, freq)
    assert np.array_equal(y[..., :64], x[..., :64]) and np.array_equal(y[0], x[0])
    z = (x[1, 0, 64] + 1j * x[1, 0, 65]) * np.exp(1j)  # pair 0 turns by one radian per token
    np.testing.assert_allclose([y[1, 0, 64], y[1, 0, 65]], [z.real, z.imag], rtol=1e-12)
    np.testing.assert_allclose(reference.rotate(y, positions, freq, inverse=True), x, atol=1e-12)


def test_hadamard_twice_is_the_identity():
    h = reference.hadamard(128)
    np.testing.assert_allclose(h @ h, np.eye(128), atol=1e-12)
    assert h[1, 1] < 0 < h[1, 2]


def test_top_rows_take_the_lowest_index_of_a_tie():
    scores = np.array([[1.0, 3, 2, 2, 2]])
    assert reference.top_rows(scores, 3).tolist() == [[1, 2, 3]]
    assert reference.margin(scores, 3)[0] == 0 and reference.margin(scores, 5)[0] == np.inf


# ---------------------------------------------------------------- the whole model


@pytest.fixture(scope="module")
def tokens():
    return make_goldens.golden_tokens(512)[:300]


@pytest.fixture(scope="module")
def exact():
    return Model(TINY, "exact")


@pytest.fixture(scope="module")
def exact_trace(exact, tokens):
    trace = {}
    exact.prefill(tokens, trace)
    return trace


def test_the_checkpoint_is_what_its_script_writes(tmp_path):
    make_checkpoint.write(tmp_path)
    for file in sorted(TINY.iterdir()):
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name


def test_hash_rows_are_distinct(exact):
    for layer in exact.layers[: exact.config["num_hash_layers"]]:
        assert all(len(set(row)) == len(row) for row in layer.tid2eid.tolist())


def test_the_weights_exercise_clamp_bias_and_selection(exact, exact_trace, tokens):
    for layer in exact.layers:
        u, _, _ = exact.hc_pre(exact_trace[f"{layer.name}.attn_out_streams"], layer.hc_ffn)
        x = exact.rms_norm(u, layer.vectors["ffn_norm"])
        assert (x @ layer.shared.w1.T > 10).any() and (np.abs(x @ layer.shared.w3.T) > 10).any()
        if layer.gate_bias is not None:
            scores = reference.router_score(x @ layer.gate.T)
            plain = reference.top_rows(scores, 2)
            assert (plain != exact_trace[f"{layer.name}.ffn.topk_ids"]).any(axis=1).mean() > 0.1
    for layer in (2, 4):
        selected = exact_trace[f"layers.{layer}.attn.topk"][299]  # 75 blocks are visible
        assert len(set(selected)) == 16 and selected.min() >= 0 and selected.max() <= 74
        assert not np.array_equal(selected, np.arange(16))


def test_one_shot_equals_token_by_token(exact, exact_trace, tokens):
    session = Session(exact)
    for t, token in enumerate(tokens):
        trace = {}
        logits = session.step(int(token), trace)
        np.testing.assert_allclose(logits[0], exact_trace["final.logits"][t], rtol=0, atol=1e-9,
                                   err_msg=f"position {t}")


def test_official_token_by_token_rounds_like_one_shot(tokens):
    """Sums run in float64, so the two differ only where a double-rounding lands on a tie."""
    model, tokens = Model(TINY, "official"), tokens[:150]
    want = model.prefill(tokens)
    session = Session(model)
    got = np.concatenate([session.step(int(token)) for token in tokens])
    assert (np.abs(got - want).max(axis=1) == 0).mean() > 0.9
    assert np.abs(got - want).max() < 0.5 * want.std()


def test_prefix_does_not_depend_on_what_follows(exact, exact_trace, tokens):
    logits = exact.prefill(tokens[:131])
    np.testing.assert_allclose(logits, exact_trace["final.logits"][:131], rtol=0, atol=1e-9)


def test_without_compressed_rows_a_csa_layer_is_window_only(exact, exact_trace, tokens):
    """The first three tokens see no block: the compressed branch must add nothing (4.4)."""
    layer = exact.layers[2]
    X = exact_trace["layers.1.ffn_out_streams"][:3]
    plain = reference.Layer(**{**vars(layer), "ratio": 0})
    def attend(which):
        return exact.attention_half(which, X, lambda x: exact.attention(which, x, {}))
    np.testing.assert_allclose(attend(layer), attend(plain), atol=1e-12)


@pytest.mark.parametrize("numerics", ["official", "exact"])
def test_goldens_are_what_the_reference_computes(numerics, tokens, exact_trace):
    stored = np.load(make_goldens.GOLDEN / f"{numerics}.npz")
    positions = stored["positions"][stored["positions"] < len(tokens)]
    if numerics == "exact":
        trace, atol = exact_trace, 1e-5
    else:
        trace, atol = {}, 0.5  # BLAS may sum in another order; one bf16 flip grows (docs/model.md)
        Model(TINY, numerics).prefill(tokens, trace)
    for name in stored.files:
        if name.startswith("layers.") or name == "final.logits":
            got, want = trace[name][positions], stored[name][: len(positions)]
            np.testing.assert_allclose(got, want, rtol=0, atol=atol * want.std(), err_msg=name)
