"""The local Hub, held to the truth by the real clients, by git and by an independent mirror."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from tests.hub_server import HubServer
from tests.hub_server.gitobjects import lfs_entry, regular_entry, tree_oids

REPO = "alice/model"
PART = 300_000
HF = Path(sys.executable).with_name("hf")
OLAH = os.environ.get("OLAH_CLI") or shutil.which("olah-cli")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HubServer]:
    with HubServer(tmp_path / "hub", part_size=PART) as server:
        server.add_user("alice", "hf_alice")
        yield server


def client(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    """Return a client in this process, none of whose requests leaves the machine."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    return HfApi(endpoint=endpoint, token="hf_alice")


def run(endpoint: str, tmp_path: Path, *command: str | Path, **env: str) -> str:
    """Run a client as a process of its own, which reads `HF_ENDPOINT` as users set it, and return what it prints."""
    settings = {"HF_ENDPOINT": endpoint, "HF_TOKEN": "hf_alice", "HF_HOME": str(tmp_path / "home")}
    settings |= {"HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_OFFLINE": "0", **env}
    words = [str(part) for part in command]
    done = subprocess.run(words, env=os.environ | settings, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def python(server: HubServer, tmp_path: Path, code: str, *arguments: str) -> str:
    return run(server.endpoint, tmp_path, sys.executable, "-c", code, *arguments)


def wait_for(port: int) -> None:
    """Wait until something listens on a port."""
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_ids_are_those_of_git(tmp_path: Path) -> None:
    files = {"a.txt": b"one", "dir/b.txt": b"two", "dir/deep/c": b"", "dir.d": b"sorts before the folder", "z": b"3"}
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    hash_ = "0123456789abcdef" * 4
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{hash_}\nsize 12\n"

    def git(*words: str, stdin: str | None = None) -> str:
        done = subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True, text=True, input=stdin)
        return done.stdout.strip()

    git("init", "-q")
    git("add", ".")
    assert tree_oids({path: regular_entry(data) for path, data in files.items()})[""] == git("write-tree")
    assert lfs_entry(hash_, 12).oid == git("hash-object", "--stdin", stdin=pointer)


@pytest.mark.parametrize("without_xet", [False, True])
def test_hf_command_round_trip(server: HubServer, tmp_path: Path, without_xet: bool) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(os.urandom(2 * PART + 1))
    (folder / "sub" / "small.bin").write_bytes(os.urandom(100))
    (folder / "README.md").write_text("---\nlicense: mit\nbase_model: org/base\n---\n# Card\n")
    env = {"HF_HUB_DISABLE_XET": str(int(without_xet))}
    assert "alice" in run(server.endpoint, tmp_path, HF, "auth", "whoami", **env)
    run(server.endpoint, tmp_path, HF, "upload", REPO, folder, **env)
    run(server.endpoint, tmp_path, HF, "download", REPO, "--local-dir", "copy", **env)
    for path in folder.rglob("*.*"):
        assert (tmp_path / "copy" / path.relative_to(folder)).read_bytes() == path.read_bytes()
    parts = server.requests_to("/_storage/parts/", "PUT")
    assert [row.received for row in parts] == ([PART, PART, 1] if without_xet else [])
    assert bool(server.requests_to("/xet-write-token/")) is not without_xet
    storage = {row.user for row in server.requests_to("/_storage/")}
    assert storage == {None}, "tokens stay away from the storage host"
    run(server.endpoint, tmp_path, HF, "upload", REPO, folder, **env)
    assert len(server.requests_to("/commit/")) == 1, "an unchanged folder makes no second commit"


def test_xet_pushes_that_share_content(server: HubServer, tmp_path: Path) -> None:
    common = os.urandom(400_000)
    files = {name: common + name.encode() * 50_000 for name in ("a.bin", "b.bin", "c.bin")}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    code = f"""
import sys
from huggingface_hub import HfApi
HfApi().create_repo({REPO!r}, exist_ok=True)
for name in sys.argv[1:]:
    HfApi().upload_file(path_or_fileobj=name, path_in_repo=name, repo_id={REPO!r})
"""
    python(server, tmp_path, code, "a.bin", "b.bin")
    python(server, tmp_path, code, "c.bin")  # another process with the same caches
    run(server.endpoint, tmp_path, HF, "download", REPO, "--local-dir", "copy")
    assert {name: (tmp_path / "copy" / name).read_bytes() for name in files} == files


def test_transformers(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast, Trainer, TrainingArguments
from transformers import pipeline
words = Tokenizer(models.WordLevel({"<unk>": 0, "good": 1}, unk_token="<unk>"))
PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", pad_token="<unk>").push_to_hub("alice/model")
sizes = dict(vocab_size=2, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
model = AutoModelForCausalLM.from_config(LlamaConfig(**sizes))
model.push_to_hub("alice/model")
options = TrainingArguments("out", report_to=[], use_cpu=True, push_to_hub=True, hub_model_id="alice/trained")
Trainer(model, options).push_to_hub()
AutoModelForCausalLM.from_pretrained("alice/trained")
print(pipeline(model="alice/model")("good", max_new_tokens=1)[0]["generated_text"])
"""
    assert python(server, tmp_path, code).startswith("good")
    listed = client(server.endpoint, monkeypatch).list_models(author="alice")
    assert {repo.id for repo in listed} == {"alice/model", "alice/trained"}


def test_datasets(server: HubServer, tmp_path: Path) -> None:
    code = """
from datasets import Dataset, load_dataset
from huggingface_hub import HfApi
rows = Dataset.from_dict({"text": ["good", "bad"], "label": [1, 0]})
rows.push_to_hub("alice/parquet")
rows.push_to_hub("alice/parquet", split="test")
HfApi().create_repo("alice/csv", repo_type="dataset", private=True)
HfApi().upload_file(path_or_fileobj=b"text,label\\ngood,1\\nbad,0\\n", path_in_repo="train.csv", repo_id="alice/csv",
                    repo_type="dataset")
for name in ("alice/parquet", "alice/csv"):
    assert load_dataset(name, split="train")[:] == rows[:], name
    assert list(load_dataset(name, split="train", streaming=True)) == list(rows), name
print(load_dataset("alice/parquet")["test"].num_rows)
"""
    assert python(server, tmp_path, code).strip() == "2"


@pytest.mark.skipif(OLAH is None, reason="no olah-cli: pip install olah==0.5.4 into its own venv, then set OLAH_CLI")
def test_independent_mirror_reads_it(server: HubServer, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(os.urandom(PART + 5))
    (tmp_path / "README.md").write_text("# Card")
    for name in ("model.safetensors", "README.md"):
        run(server.endpoint, tmp_path, HF, "upload", REPO, name)
    hub, port = server.endpoint.removeprefix("http://"), free_port()
    options = {"hf-scheme": "http", "hf-netloc": hub, "hf-lfs-netloc": hub, "mirror-netloc": f"127.0.0.1:{port}"}
    options |= {"host": "127.0.0.1", "port": str(port), "repos-path": "mirrored", "log-path": "logs"}
    command = [str(OLAH), *(f"--{key}={value}" for key, value in options.items())]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as mirror:
        try:
            wait_for(port)
            run(f"http://127.0.0.1:{port}", tmp_path, HF, "download", REPO, "--local-dir", "copy")
        finally:
            mirror.terminate()
    for name in ("model.safetensors", "README.md"):
        assert (tmp_path / "copy" / name).read_bytes() == (tmp_path / name).read_bytes()


def upload_url(endpoint: str, data: bytes) -> str:
    """Ask for the address to upload a large file to."""
    body = {"operation": "upload", "objects": [{"oid": sha256(data).hexdigest(), "size": len(data)}]}
    request = urllib.request.Request(f"{endpoint}/{REPO}.git/info/lfs/objects/batch", json.dumps(body).encode())
    request.add_header("Authorization", "Bearer hf_alice")
    with urllib.request.urlopen(request) as reply:
        href: str = json.load(reply)["objects"][0]["actions"]["upload"]["href"]
    return href


def test_killed_in_the_middle_of_an_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, data = free_port(), os.urandom(2_000_000)
    command = [sys.executable, "-m", "tests.hub_server", "--user=alice", "--token=hf_alice", f"--port={port}"]
    command.append(f"--root={tmp_path / 'hub'}")
    api = client(f"http://127.0.0.1:{port}", monkeypatch)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2]) as killed:
        wait_for(port)
        api.create_repo(REPO)
        before = api.upload_file(path_or_fileobj=b"kept", path_in_repo="a.txt", repo_id=REPO).oid
        path = upload_url(api.endpoint, data).partition(str(port))[2]
        upload = http.client.HTTPConnection("127.0.0.1", port)
        upload.putrequest("PUT", path)
        upload.putheader("Content-Length", str(len(data)))
        upload.endheaders(data[: len(data) // 2])
        killed.send_signal(signal.SIGKILL)
    with HubServer(tmp_path / "hub", port):
        assert api.model_info(REPO).sha == before
        assert upload_url(api.endpoint, data), "half a file counts as none"
        api.upload_file(path_or_fileobj=data, path_in_repo="b.bin", repo_id=REPO)
        assert {file.rfilename for file in api.model_info(REPO).siblings or []} == {".gitattributes", "a.txt", "b.bin"}
