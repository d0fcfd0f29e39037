"""Which files belong in large file storage (`.gitattributes`) and which are ignored (`.gitignore`)."""

from __future__ import annotations

from fnmatch import fnmatch

from .repos import Kind

REGULAR_LIMIT = 10 * 1024 * 1024
_LFS = "filter=lfs diff=lfs merge=lfs -text"
_COMMON = """
*.7z *.arrow *.bin *.bz2 *.ckpt *.ftz *.gz *.h5 *.joblib *.lfs.* *.mlmodel *.model *.msgpack *.npy *.npz *.onnx
*.ot *.parquet *.pb *.pickle *.pkl *.pt *.pth *.rar *.safetensors saved_model/**/* *.tar.* *.tar *.tflite *.tgz
*.wasm *.xz *.zip *.zst *tfevents*
"""
_DATASET = """
*.mds *.lz4 *.pcm *.sam *.raw *.aac *.flac *.mp3 *.ogg *.wav *.bmp *.gif *.png *.tiff *.jpg *.jpeg *.webp *.mp4
*.webm
"""


def default_attributes(kind: Kind) -> bytes:
    """Return the `.gitattributes` of a new repository."""
    patterns = _COMMON + (_DATASET if kind == "dataset" else "")
    return "".join(f"{pattern} {_LFS}\n" for pattern in patterns.split()).encode()


def _matches(path: str, pattern: str) -> bool:
    if "/" in pattern.rstrip("/"):
        return fnmatch(path, pattern.strip("/").replace("/**/", "/"))
    return fnmatch(path.rpartition("/")[2], pattern)


def tracks(attributes: str, path: str) -> bool:
    """Tell whether `.gitattributes` puts a file into large file storage."""
    rules = [line.split() for line in attributes.splitlines() if line.strip() and not line.startswith("#")]
    return any("filter=lfs" in rule[1:] and _matches(path, rule[0]) for rule in rules)


def track(attributes: str, path: str) -> str:
    """Add a rule for one file, as the Hub does when a client sends it to large file storage of its own accord."""
    newline = "" if attributes.endswith("\n") or not attributes else "\n"
    return f"{attributes}{newline}{path} {_LFS}\n"


def is_large(attributes: str, path: str, size: int, sample: bytes) -> bool:
    """Tell whether a file goes to large file storage: by rule, by size or because it isn't text."""
    if size == 0:
        return False
    if tracks(attributes, path) or size > REGULAR_LIMIT:
        return True
    return b"\0" in sample


def ignores(gitignore: str, path: str) -> bool:
    """Tell whether `.gitignore` excludes a file; covers plain, folder and `!` patterns."""
    parts = path.split("/")
    candidates = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    ignored = False
    for line in (raw.strip() for raw in gitignore.splitlines()):
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        # A pattern that ends in a slash names folders only, so it can't match the file itself.
        names = candidates[:-1] if pattern.endswith("/") else candidates
        if any(_matches(name, pattern.rstrip("/")) for name in names):
            ignored = not line.startswith("!")
    return ignored
