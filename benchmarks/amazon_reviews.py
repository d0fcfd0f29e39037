"""A second real task: sentences of Amazon reviews of five products, labelled by twenty raters each.

    python -m benchmarks.amazon_reviews build/amazon_reviews
    python -m benchmarks.accuracy recipes --dataset build/amazon_reviews --names "1 epoch"

They come inside the source package of vaderSentiment on PyPI (Hutto and Gilbert 2014, on texts of Hu and Liu 2004).
The label is the sign of the raters' mean; sentences with a mean of 0 are left out. All sentences of a review go into
the same split.
"""

import argparse
import csv
import random
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "vaderSentiment==3.3.2"
INNER, RATINGS = "hutto_ICWSM_2014.tar.gz", "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt"
HELD_OUT = 0.15  # of the reviews, for validation, and as many for test


def read_ratings() -> list[tuple[str, float, str]]:
    """Sentence number, mean rating and text of each sentence; downloads the package."""
    with tempfile.TemporaryDirectory() as folder:
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", PACKAGE]
        subprocess.run([*download, "--dest", folder], check=True)
        with tarfile.open(next(Path(folder).glob("*.tar.gz"))) as outer:
            name = next(name for name in outer.getnames() if name.endswith(INNER))
            with tarfile.open(fileobj=outer.extractfile(name)) as inner:
                lines = inner.extractfile(RATINGS).read().decode("ascii").splitlines()
    rows = (line.split("\t") for line in lines)
    return [(number, float(rating), text) for number, rating, text in rows]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.amazon_reviews", description="Make the second task.")
    parser.add_argument("folder", type=Path, help="where train.csv, validation.csv and test.csv go")
    folder = parser.parse_args().folder
    rows = read_ratings()
    reviews = sorted({number.partition("_")[0] for number, _, _ in rows})
    random.Random(42).shuffle(reviews)
    size = round(HELD_OUT * len(reviews))
    splits = {"validation": reviews[:size], "test": reviews[size : 2 * size], "train": reviews[2 * size :]}
    folder.mkdir(parents=True, exist_ok=True)
    for split, of_split in splits.items():
        with open(folder / f"{split}.csv", "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["text", "label"])
            table.writerows(
                (text, "positive" if rating > 0 else "negative")
                for number, rating, text in rows
                if rating and number.partition("_")[0] in of_split
            )


if __name__ == "__main__":
    main()
