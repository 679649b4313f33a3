"""`baleen sandbox images`: archives of other programs in, the same files out; the commands' forms."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
from pathlib import Path
from typing import Any, Callable

import pytest

from test_cli import assert_bad_input

Images = Callable[..., Any]


@pytest.fixture
def images(baleen, tmp_path: Path) -> Images:
    """Runs `baleen sandbox images ...` on a store of this test; its JSON where that is asked for."""

    def run(command: str, *arguments: str | Path) -> Any:
        done = baleen("sandbox", "images", command, "--store", tmp_path / "store", *arguments)
        if "--json" not in arguments:
            return done
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def member(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def sample() -> list[tuple[tarfile.TarInfo, bytes]]:
    random = hashlib.shake_256(b"seed").digest(2_500_000)
    return [
        member("etc", type=tarfile.DIRTYPE, mode=0o755, mtime=1_700_000_000),
        member("etc/hello", b"hello\n", mode=0o640, uid=7, gid=8, mtime=1_600_000_000),
        member("etc/empty", mode=0o600),
        member("bin", type=tarfile.DIRTYPE, mode=0o755),
        member("bin/su", b"#!", mode=0o4755),
        member("bin/link", type=tarfile.LNKTYPE, linkname="bin/su"),
        member("sym", type=tarfile.SYMTYPE, linkname="../outside", mode=0o777),
        member("dev", type=tarfile.DIRTYPE, mode=0o755),
        member("dev/null", type=tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3),
        member("fifo", type=tarfile.FIFOTYPE, mode=0o644),
        member("large", random, mode=0o644, uid=2_000_000),
        member("a" * 60, type=tarfile.DIRTYPE, mode=0o755),
        member("a" * 60 + "/" + "b" * 80, b"prefix", mode=0o644),
        member("é", b"utf-8", mode=0o644),
    ]


def long_names() -> list[tuple[tarfile.TarInfo, bytes]]:
    return [member("n" * 200, b"long", mode=0o644),
            member("l", type=tarfile.SYMTYPE, linkname="t" * 300, mode=0o777)]


def archive(members: list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.PAX_FORMAT,
            **headers: Any) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, **headers) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def facts(data: bytes) -> dict[str, tuple[Any, ...]]:
    """What each path of an archive is; hard links are what they link to."""
    found: dict[str, tuple[Any, ...]] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for info in tar:
            name = info.name.removeprefix("./")
            if name in ("", "."):
                continue
            if info.islnk():
                found[name] = found[info.linkname.removeprefix("./")]
                continue
            content = tar.extractfile(info).read() if info.isreg() else b""
            device = (info.devmajor, info.devminor) if info.ischr() or info.isblk() else (0, 0)
            # v7 archives have no type for files.
            kind = tarfile.REGTYPE if info.isreg() else info.type
            found[name] = (kind, info.mode, info.uid, info.gid, int(info.mtime),
                           info.linkname if info.issym() else "", device,
                           hashlib.sha256(content).hexdigest())
    return found


def exported(images: Images, name: str, tmp_path: Path) -> bytes:
    done = images("export", name, "-o", tmp_path / "out.tar")
    assert done.returncode == 0, done.stderr
    return (tmp_path / "out.tar").read_bytes()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_python_archives(images, tmp_path: Path, form: int, packed: Callable[[bytes], bytes]) -> None:
    members = sample() + (long_names() if form != tarfile.USTAR_FORMAT else [])
    if form == tarfile.USTAR_FORMAT:
        members = [m for m in members if m[0].uid < 2_000_000]
    data = archive(members, form)
    (tmp_path / "in.tar").write_bytes(packed(data))
    first = images("import", "sample:1", tmp_path / "in.tar", "--json")
    assert first["layers"][0]["entries"] == len(members)
    assert facts(exported(images, "sample:1", tmp_path)) == facts(data)
    # Once more, and by way of our own archive: the same bytes.
    again = images("import", "sample:2", tmp_path / "in.tar", "--json")
    assert again["layers"] == first["layers"]


def test_extended_attributes_and_times_survive(images, tmp_path: Path) -> None:
    info, content = member("f", b"x", mode=0o644)
    info.pax_headers = {"SCHILY.xattr.user.note": "value", "mtime": "1234567890.123456789",
                        "SCHILY.xattr.security.selinux": "of the host"}
    (tmp_path / "in.tar").write_bytes(archive([(info, content)]))
    done = images("import", "x:1", tmp_path / "in.tar", "--json")
    assert done["notes"] == ["1 attributes that belong to a host were left out"]
    with tarfile.open(fileobj=io.BytesIO(exported(images, "x:1", tmp_path))) as tar:
        headers = tar.getmember("f").pax_headers
    assert headers["SCHILY.xattr.user.note"] == "value"
    assert headers["mtime"] == "1234567890.123456789"


@pytest.mark.parametrize("form", ["ustar", "gnu", "pax", "v7", "oldgnu"])
def test_gnu_tar_archives(images, tmp_path: Path, form: str) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "file").write_bytes(b"content" * 100_000)
    (folder / "sub" / ("n" * 90)).write_bytes(b"")
    os.link(folder / "sub" / "file", folder / "hard")
    os.symlink("sub/file", folder / "sym")
    if form in ("gnu", "pax", "oldgnu"):
        (folder / "sub" / ("m" * 150)).write_bytes(b"long")
    subprocess.run(["tar", "--format", form, "-C", folder, "-cf", tmp_path / "in.tar", "."], check=True)
    assert images("import", "g:1", tmp_path / "in.tar").returncode == 0
    assert facts(exported(images, "g:1", tmp_path)) == facts((tmp_path / "in.tar").read_bytes())
    # GNU tar itself reads what we write.
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "out", "-xf", tmp_path / "out.tar"], check=True)
    assert (tmp_path / "out" / "hard").read_bytes() == b"content" * 100_000
    assert (tmp_path / "out" / "hard").stat().st_nlink == 2


def test_sparse_archives_are_refused(images, tmp_path: Path) -> None:
    with open(tmp_path / "holes", "wb") as file:
        file.truncate(10_000_000)
        file.seek(5_000_000)
        file.write(b"x")
    for form in ("gnu", "pax"):
        subprocess.run(["tar", "--format", form, "--sparse", "-C", tmp_path, "-cf",
                        tmp_path / "in.tar", "holes"], check=True)
        assert_bad_input(images("import", "s:1", tmp_path / "in.tar"), "sparse")
    # A folder keeps its holes: the store holds one block of data.
    (tmp_path / "in").mkdir()
    shutil.move(tmp_path / "holes", tmp_path / "in" / "holes")
    done = images("import", "s:1", tmp_path / "in", "--json")
    assert done["layers"][0]["data_bytes"] <= 2 << 20


def test_standard_input_and_a_folder_give_what_they_hold(images, program: str, tmp_path: Path) -> None:
    data = archive(sample())
    done = subprocess.run([program, "sandbox", "images", "import", "stdin:1", "-", "--store",
                           tmp_path / "store", "--kind", "workspace"], input=gzip.compress(data),
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert facts(exported(images, "stdin:1", tmp_path)) == facts(data)
    (tmp_path / "in" / "d").mkdir(parents=True)
    (tmp_path / "in" / "d" / "f").write_text("text")
    assert images("import", "folder", tmp_path / "in").returncode == 0
    with tarfile.open(fileobj=io.BytesIO(exported(images, "folder:latest", tmp_path))) as tar:
        assert tar.extractfile("d/f").read() == b"text"
    listed = images("list", "--json")["images"]
    assert [(i["name"], i["version"], i["kind"], i["source"]) for i in listed] == [
        ("folder", "latest", "base", "directory"), ("stdin", "1", "workspace", "tar")]


def write_oci(folder: Path, layers: list[bytes]) -> None:
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    config = {"os": "linux", "architecture": "arm64", "config": {"Env": ["A=1"], "Cmd": ["sh"]},
              "rootfs": {"type": "layers",
                         "diff_ids": ["sha256:" + hashlib.sha256(l).hexdigest() for l in layers]}}
    manifest = {"schemaVersion": 2,
                "config": put(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
                "layers": [put(gzip.compress(layer), "application/vnd.oci.image.layer.v1.tar+gzip")
                           for layer in layers]}
    index = {"schemaVersion": 2, "manifests": [
        put(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def test_oci_layout(images, tmp_path: Path) -> None:
    lower = archive([member("etc/a", b"a"), member("etc/b", b"b"), member("var/x", b"x")])
    upper = archive([member("etc/.wh.a"), member("etc/b", b"new"), member("var/.wh..wh..opq"),
                     member("var/y", b"y")])
    write_oci(tmp_path / "oci", [lower, upper])
    assert_bad_input(images("import", "o:1", tmp_path / "oci", "--platform", "linux/s390x"), "linux/arm64")
    done = images("import", "o:1", tmp_path / "oci", "--platform", "linux/arm64", "--json")
    assert len(done["layers"]) == 2
    with tarfile.open(fileobj=io.BytesIO(exported(images, "o:1", tmp_path))) as tar:
        files = {i.name: tar.extractfile(i).read() for i in tar if i.isreg()}
    assert files == {"etc/b": b"new", "var/y": b"y"}
    assert images("verify", "o", "--json") == {"problems": []}


def test_images_are_removed_collected_and_verified(images, tmp_path: Path) -> None:
    (tmp_path / "in.tar").write_bytes(archive(sample()))
    layer = images("import", "a:1", tmp_path / "in.tar", "--json")["layers"][0]["digest"]
    # The same content under a second name costs a manifest; other content needs another version.
    assert images("import", "b:1", tmp_path / "in.tar", "--json")["layers"][0]["digest"] == layer
    (tmp_path / "other.tar").write_bytes(archive([member("f", b"other")]))
    assert_bad_input(images("import", "a:1", tmp_path / "other.tar"), "a:1", "already")
    assert images("verify").stdout == "all digests are right\n"
    assert images("rm", "a:1", "--json") == {"removed": ["a:1"]}
    assert_bad_input(images("rm", "a:1"), "a:1")
    assert_bad_input(images("rm", "b"), "version")
    # What the refused import had written is an hour too young to go, unless asked.
    assert images("gc", "--json")["files"] == []
    planned = images("gc", "--dry-run", "--min-age", "0", "--json")
    assert planned["dry_run"] and len(planned["files"]) == 2
    assert images("gc", "--min-age", "0", "--json")["files"] == planned["files"]
    assert images("rm", "b:1").returncode == 0
    assert images("gc", "--min-age", "0", "--live", layer, "--json")["files"] == []
    # The daemon's mounts say what is in use on this node.
    (tmp_path / "run" / "layers" / layer).mkdir(parents=True)
    assert images("gc", "--min-age", "0", "--run", tmp_path / "run", "--json")["files"] == []
    assert len(images("gc", "--min-age", "0", "--json")["files"]) == 2
    assert [p for p in (tmp_path / "store").rglob("*") if p.is_file() and p.name != ".lock"] == []


def test_damage_is_told(images, tmp_path: Path) -> None:
    (tmp_path / "in.tar").write_bytes(archive(sample()))
    layer = images("import", "a:1", tmp_path / "in.tar", "--json")["layers"][0]["digest"]
    data = tmp_path / "store" / "layers" / f"{layer}.data"
    whole = data.read_bytes()
    data.write_bytes(whole[:4096] + b"!" + whole[4097:])
    done = images("verify")
    assert done.returncode == 2
    assert f"layer {layer} of a:1" in done.stdout and "damaged" in done.stdout
    assert "1 problems" in done.stderr


def test_bad_input(images, baleen, tmp_path: Path) -> None:
    assert_bad_input(images("list"), "store", "no image store")
    assert_bad_input(images("import", "../x:1", tmp_path), "../x:1")
    assert_bad_input(images("import", "x:1", tmp_path / "missing"), "missing")
    assert not (tmp_path / "store" / "manifests" / "x").exists()
    (tmp_path / "no.tar").write_text("no archive" * 100)
    assert_bad_input(images("import", "x:1", tmp_path / "no.tar"), "no.tar", "checksum")
    (tmp_path / "evil.tar").write_bytes(archive([member("../../etc/passwd", b"root")]))
    assert_bad_input(images("import", "x:1", tmp_path / "evil.tar"), "../../etc/passwd")
    assert_bad_input(images("import", "x:1", tmp_path, "--kind", "other"), "kind")
    assert_bad_input(images("export", "x:1"), "x:1")
    assert_bad_input(baleen("sandbox", "images"))


def test_an_import_can_be_interrupted(program: str, images, tmp_path: Path) -> None:
    import_ = subprocess.Popen(
        [program, "sandbox", "images", "import", "x:1", "-", "--store", tmp_path / "store"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    data = archive(sample())
    import_.stdin.write(data[:1_000_000])
    import_.stdin.flush()
    while not list((tmp_path / "store" / "layers").glob(".tmp-*")):
        assert import_.poll() is None, import_.stderr.read()
    import_.send_signal(signal.SIGINT)
    import_.stdin.write(data[1_000_000:1_300_000])
    out, err = import_.communicate(timeout=60)
    assert import_.returncode == 130, (out, err)
    assert b"interrupted" in err
    assert list((tmp_path / "store" / "layers").iterdir()) == []
    assert images("list", "--json") == {"images": []}
