"""baleen sandbox log and verify, on logs that were written by the tables of docs/formats.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from test_cli import assert_bad_input
from trajectory_files import LogFile, trajectory_id, write_state

NAME = "swe-1/sample-7"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    write_state(tmp_path / "state", NAME)
    return tmp_path / "state"


@pytest.fixture
def log(state: Path) -> Path:
    return state / "trajectories" / trajectory_id(NAME).hex()


def test_a_log_written_by_the_tables_is_whole(baleen, state: Path, log: Path) -> None:
    for folder in (state, log):
        done = baleen("sandbox", "verify", folder)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert f"{trajectory_id(NAME).hex()} {NAME}: open, 6 records, 2 operations, 1 pending" in \
            done.stdout
    report = json.loads(baleen("sandbox", "verify", state, "--json").stdout)
    assert report["num_faults"] == 0 and report["blobs"] == 1
    entry = report["logs"][0]
    assert entry["name"] == NAME and entry["last_seq"] == 6 and entry["faults"] == []
    assert entry["bytes"] == sum(file.stat().st_size for file in log.iterdir())


def test_changed_bytes_are_named_with_their_place(baleen, state: Path, log: Path) -> None:
    files = [file for file in sorted(state.rglob("*")) if file.is_file()]
    assert len(files) == 3
    for file in files:
        whole = file.read_bytes()
        for at in {0, 9, 33, 50, 62, 64, 70, len(whole) // 2, len(whole) - 1}:
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1:])
            done = baleen("sandbox", "verify", state, "--json")
            assert done.returncode == 2, (file, at)
            assert done.stderr.startswith(f"baleen: {state}: ") and done.stderr.count("\n") == 1
            report = json.loads(done.stdout)
            faults = report["logs"][0]["faults"] + report["blob_faults"]
            assert report["num_faults"] == len(faults) >= 1
            assert file.name in faults[0]["path"] + faults[0]["what"], (file, at)
        file.write_bytes(whole)
    second = log / "seg-00000002.log"
    second.write_bytes(second.read_bytes()[:-3])
    done = baleen("sandbox", "verify", log)
    assert done.returncode == 2 and f"  {second}: offset " in done.stdout
    assert "torn tail" in done.stdout
    assert baleen("sandbox", "verify", state / "blobs").returncode == 2


def test_log_prints_every_record(baleen, log: Path) -> None:
    lines = baleen("sandbox", "log", log).stdout.splitlines()
    assert [line.split()[2] for line in lines] == ["open", "intent", "result", "attach", "intent",
                                                   "event"]
    assert "2001-09-09T01:46:42.000Z" in lines[1] and "main[0] exec" in lines[1]
    assert "op 2 exit code 0, stdout 7 bytes, stderr 5000 bytes, 1.500 s" in lines[2]
    assert lines[4].endswith('op 5 main[1] exec "make -j2"')
    assert len(baleen("sandbox", "log", log, "--from", "5").stdout.splitlines()) == 2
    records = [json.loads(line) for line in baleen("sandbox", "log", log, "--json").stdout.splitlines()]
    assert [record["seq"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert records[2] == {"seq": 3, "time_ns": 10**18 + 3 * 10**9, "type": "result", "op": 2,
                          "payload": records[2]["payload"]}
    assert records[1]["payload"]["request"]["shell"] == "echo 'h\u00e9llo'\n"


def test_log_of_a_state_folder_lists_its_trajectories(baleen, state: Path) -> None:
    lines = baleen("sandbox", "log", state).stdout.splitlines()
    assert len(lines) == 1 and f'"{NAME}" seq 6 epoch 1 ops 2 n1-1-1-abc: open' in lines[0]
    row = json.loads(baleen("sandbox", "log", state, "--json").stdout)
    assert row == {"trajectory": trajectory_id(NAME).hex(), "name": NAME, "created_ns": 10**18,
                   "sandbox": "n1-1-1-abc", "last_seq": 6, "epoch": 1, "ops": 2, "pending": 1,
                   "labels": {"job": "7"}, "status": "open"}


def test_log_prints_what_comes_before_damage_and_a_torn_tail(baleen, log: Path) -> None:
    second = log / "seg-00000002.log"
    whole = second.read_bytes()
    second.write_bytes(whole[:-1])
    done = baleen("sandbox", "log", log)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 5
    assert "torn tail" in done.stderr and str(second) in done.stderr
    second.write_bytes(whole[:140] + b"#" + whole[141:])
    done = baleen("sandbox", "log", log, "--json")
    assert done.returncode == 2 and len(done.stdout.splitlines()) == 3
    assert done.stderr.startswith(f"baleen: {second}: offset 64: ")


def test_terminal_controls_in_a_log_do_not_reach_the_terminal(baleen, tmp_path: Path) -> None:
    evil = "\u001b]0;title\u0007\u009b31m\r"
    file = LogFile("evil")
    file.add("open", {"created_ns": 0, "policy": "fail", "sandbox": evil, "trajectory": "evil"})
    op = file.intent({"kind": "exec", "shell": evil, "user": evil}, 0)
    file.add("result", {"cause": evil, "duration_ns": 0, "stdout": {"text": evil}}, op)
    file.add("event", {evil: evil})
    file.add("seal", {"cause": evil})
    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / "seg-00000001.log").write_bytes(file.data)
    for arguments in (["log", folder], ["log", folder, "--json"], ["verify", folder]):
        done = baleen("sandbox", *arguments)
        assert done.returncode == 0, done.stderr
        for control in "\u001b\u0007\u009b\r":
            assert control not in done.stdout + done.stderr, arguments


def test_bad_folders(baleen, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert_bad_input(baleen("sandbox", "verify", missing), str(missing))
    assert_bad_input(baleen("sandbox", "log", missing), str(missing))
    assert_bad_input(baleen("sandbox", "log", tmp_path), str(tmp_path))
    assert_bad_input(baleen("sandbox", "verify", tmp_path, "--blobs", missing), str(missing))
    assert_bad_input(baleen("sandbox"), "subcommand")
    assert_bad_input(baleen("sandbox", "log"), "DIR")
    assert_bad_input(baleen("sandbox", "log", tmp_path, "--from", "x"), "--from", "x")
