#!/usr/bin/env python3
"""Plants violations in a small tree and expects tools/check_arrows.py to name each one."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

import check_arrows

# A tree without fault: model -> kernels -> quant -> tensor -> base.
CLEAN = {
    "base/json.h": "#include <nlohmann/json.hpp>\n",
    "base/CMakeLists.txt": "baleen_library(base)\n",
    "tensor/dtype.h": '#include "base/result.h"\n',
    "tensor/CMakeLists.txt": "baleen_library(tensor DEPS baleen_base)\n",
    "quant/quant.h": '#include "tensor/dtype.h"\n',
    "quant/CMakeLists.txt": "baleen_library(quant DEPS baleen_tensor)\n",
    "kernels/matvec_simd.cc": '#include "hwy/highway.h"\n#include "tensor/weight_matrix.h"\n',
    "kernels/matvec_avx512.cc": "#include <immintrin.h>\n",
    "kernels/CMakeLists.txt": "baleen_library(kernels DEPS baleen_quant)\n",
    "model/model.cc": '#include "kernels/matvec.h"\n#include "base/json.h"\n',
    "model/model_test.cc": "#include <gtest/gtest.h>\n",
    "model/CMakeLists.txt": "baleen_library(model DEPS baleen_kernels)\n",
    "cli/main.cc": '#include <CLI/CLI.hpp>\n#include "model/model.h"\n',
    "cli/CMakeLists.txt": "target_link_libraries(baleen PRIVATE baleen_model CLI11::CLI11)\n",
    "net/CMakeLists.txt": "baleen_library(net DEPS baleen_base)\n",
    "sandbox/client.h": '#include "base/result.h"\n',
    "sandbox/log/record.h": '#include "base/result.h"\n#include "sandbox/wire/frame.h"\n',
    "sandbox/log/CMakeLists.txt": "baleen_library(sandbox_log DEPS baleen_sandbox_wire)\n",
    "sandbox/daemon/api.cc": '#include "net/http.h"\n#include "sandbox/log/record.h"\n',
    "sandbox/daemon/CMakeLists.txt":
        "baleen_library(sandbox_daemon DEPS baleen_net baleen_sandbox_log)\n",
    "agent/loop.cc": '#include "sandbox/client.h"\n',
    "agent/CMakeLists.txt": "baleen_library(agent DEPS baleen_sandbox_daemon)\n",
}

# file, the text put into it, and what the report must say (None: no violation).
PLANTED = [
    ("quant/up.h", '#include "model/config.h"\n', "quant may not include model/config.h"),
    ("kv/side.h", '#include "kernels/matvec.h"\n', "kv may not include kernels/matvec.h"),
    ("engine/text.cc", '  #  include "text/tokenizer.h"\n', "engine may not include text/"),
    ("text/tokens.h", '#include "tensor/dtype.h"\n', "text may not include tensor/dtype.h"),
    ("sandbox/d.cc", '#include "engine/engine.h"\n', "sandbox may not include engine/engine.h"),
    ("sandbox/log/up.h", '#include "sandbox/daemon/api.h"\n',
     "sandbox/log may not include sandbox/daemon/api.h (allowed: wire, log)"),
    ("sandbox/extra/x.cc", "#include <vector>\n", "folder sandbox/extra is not in the house map"),
    ("sandbox/jail/CMakeLists.txt", "baleen_library(sandbox_jail DEPS baleen_model)\n",
     "sandbox may not link baleen_model"),
    ("agent/CMakeLists.txt", "baleen_library(agent DEPS baleen_serve)\n",
     "agent includes sandbox but does not link"),
    ("sandbox/log/log.cc", "#include <sqlite3.h>\n", "SQLite"),
    ("sandbox/log/index.cc", "#include <sqlite3.h>\n", None),
    ("net/tls.cc", "#include <openssl/evp.h>\n", "OpenSSL"),
    ("base/sha256.cc", "#include <openssl/evp.h>\n", None),
    ("agent/a.cc", '#include "sandbox/daemon.h"\n', "only sandbox/client.h"),
    ("model/up_test.cc", '#include "engine/engine.h"\n', "model may not include engine/"),
    ("extras/x.cc", "int x;\n", "folder extras is not in the house map"),
    ("model/j.cc", "#include <nlohmann/json.hpp>\n", "nlohmann-json"),
    ("model/flags.cc", "#include <CLI/CLI.hpp>\n", "CLI11"),
    ("model/regex.cc", "#include <pcre2.h>\n", "PCRE2"),
    ("quant/simd.cc", '#include "hwy/highway.h"\n', "Highway"),
    ("kernels/matvec_simd2.cc", "#include <immintrin.h>\n", "SIMD intrinsics"),
    ("quant/x_avx512.cc", "#include <immintrin.h>\n", "SIMD intrinsics"),
    ("kernels/gpu.cc", "#include <cuda_runtime.h>\n", "CUDA"),
    ("kv/t.cc", "#include <gtest/gtest.h>\n", "GoogleTest"),
    ("kernels/b_test.cc", "#include <benchmark/benchmark.h>\n", "Google Benchmark"),
    ("kernels/load.cc", '#include "base/file.h"\n', "kernels know no configuration"),
    ("kernels/own.cc", '#include "kernels/expert_config.h"\n', "kernels know no configuration"),
    ("quant/CMakeLists.txt", "baleen_library(quant DEPS baleen_model baleen_tensor)\n",
     "quant may not link baleen_model"),
    ("model/CMakeLists.txt", "baleen_library(model DEPS baleen_base)  # baleen_kernels\n",
     "model includes kernels but does not link"),
    ("kv/CMakeLists.txt", "baleen_library(kv DEPS baleen_base)\n", None),
    ("kernels/matvec_test.cc", "#include <fstream>\n", None),
    ("model/config_fixture.h", "#include <gtest/gtest.h>\n", None),
    ("model/comment.cc", '// #include "engine/engine.h"\n', None),
    ("kernels/matvec_simd.h", '#define HWY_TARGET_INCLUDE "kernels/matvec_simd.cc"\n', None),
]


class CheckArrows(unittest.TestCase):
    def report(self, extra: dict[str, str]) -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            for name, text in {**CLEAN, **extra}.items():
                file = Path(folder) / "src" / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            return check_arrows.check(Path(folder))

    def test_clean_tree_has_no_violation(self) -> None:
        self.assertEqual(self.report({}), [])

    def test_each_planted_violation_is_named(self) -> None:
        for name, text, expected in PLANTED:
            with self.subTest(name=name):
                found = self.report({name: text})
                if expected is None:
                    self.assertEqual(found, [])
                else:
                    self.assertEqual(len(found), 1, found)
                    self.assertIn(f"src/{name}:1: ", found[0])
                    self.assertIn(expected, found[0])

    def test_missing_src_is_a_violation(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(len(check_arrows.check(Path(folder))), 1)


if __name__ == "__main__":
    unittest.main()
