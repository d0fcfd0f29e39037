"""Two real tables with several labels a text: what Debian packages are for, and their role and section.

    python -m benchmarks.debian_packages build/debian

They come from `apt-cache dumpavail` on Debian: the text is the short description, the labels are the volunteers' tags
(https://wiki.debian.org/Debtags). Packages of one source, whose descriptions are alike, go into the same split, and
equal descriptions are used once.

    accelerate launch -m hf_sentiment_ft.train --train_file build/debian/uses-train.csv \
        --validation_file build/debian/uses-validation.csv --test_file build/debian/uses-test.csv \
        --label_column_name uses --label_separator ';'
"""

import argparse
import csv
import random
import re
import subprocess
from collections import Counter
from pathlib import Path

NUM_USES = 12  # the most frequent ones
NUM_SECTIONS = 8
ROLES = ("program", "shared-lib", "devel-lib", "plugin", "documentation", "app-data")
SIZES = {"test": 1000, "validation": 500, "train": 3000}


def read_packages() -> list[dict[str, str]]:
    """Fields of each package, continued lines joined."""
    printed = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout
    blocks = (re.sub(r"\n[ \t]+", " ", block) for block in printed.split("\n\n"))
    return [dict(line.split(": ", 1) for line in block.splitlines() if ": " in line) for block in blocks]


def write(path: Path, header: list[str], rows: list[list[str]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.debian_packages", description="Make two tables.")
    parser.add_argument("folder", type=Path, help="where the tables go")
    folder = parser.parse_args().folder
    found: dict[str, tuple[str, str, list[str], str, str]] = {}  # by description
    for package in read_packages():
        tags = [tag.strip() for tag in package.get("Tag", "").split(",")]
        of = {facet: [tag.split("::")[1] for tag in tags if tag.startswith(f"{facet}::")] for facet in ("use", "role")}
        role = of["role"][0] if len(of["role"]) == 1 and of["role"][0] in ROLES else ""
        source = package.get("Source", package.get("Package", "")).split(" ")[0]
        if text := package.get("Description", ""):
            found.setdefault(text, (source, text, of["use"], role, package.get("Section", "").split("/")[-1]))
    packages = sorted(found.values())
    uses = {use for use, _ in Counter(use for one in packages for use in one[2]).most_common(NUM_USES)}
    sections = {name for name, _ in Counter(one[4] for one in packages if one[3]).most_common(NUM_SECTIONS)}
    tables = {
        "uses": [[one[0], one[1], ";".join(use for use in one[2] if use in uses)] for one in packages if one[2]],
        "kinds": [[one[0], one[1], one[3], one[4]] for one in packages if one[3] and one[4] in sections],
    }
    headers = {"uses": ["text", "uses"], "kinds": ["text", "role", "section"]}
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        sources = sorted({row[0] for row in rows})
        random.Random(42).shuffle(sources)
        order = {source: place for place, source in enumerate(sources)}
        rows.sort(key=lambda row: order[row[0]])
        start = 0
        for split, size in SIZES.items():
            end = start + size
            while end < len(rows) and rows[end][0] == rows[end - 1][0]:
                end += 1
            write(folder / f"{name}-{split}.csv", headers[name], [row[1:] for row in rows[start:end]])
            start = end


if __name__ == "__main__":
    main()
