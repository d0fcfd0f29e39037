"""Write docs/performance.md from the JSON files of the comparisons.

python -m benchmarks.report
"""

import argparse
import json
from pathlib import Path
from typing import Any

from .measure import RESULTS, ROOT
from .tables import goal_row, render, table

INTRODUCTION = """# Performance

How fast training, evaluation and prediction are and what memory they take, beside other ways to do the same.

Made from `benchmarks/results/*.json` by `make bench`, or by the command of each section, which may be longer; not
written by hand. Every side of a comparison runs in a fresh process, the sides in turn, on the same rows; ours is
started by `accelerate launch`, as users start it. Figures are medians over the rounds. Ratios carry over to other
machines better than seconds do. A goal that is missed is marked **missed**. Sections are measured one at a time, so one
may be of an earlier state of the package than another.

Training is timed on whole batches out of the whole train split's order by length, evenly from the longest to the
shortest, as a run on all of its rows meets them (`rows_by_length` in benchmarks/material.py). Sides that bring rows of
similar length together get them in that order; the others shuffle the same rows. Batches of another size have rows of
their own, drawn likewise.
"""


def summary(reports: list[dict[str, Any]]) -> str:
    """All goals in one table, those missed first."""
    goals = sorted((goal for report in reports for goal in report["goals"]), key=lambda goal: goal["met"])
    return "\n## Goals\n\n" + table([goal_row(goal) for goal in goals]) + "\n" if goals else ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description="Write docs/performance.md.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "performance.md", help="file to write")
    args = parser.parse_args()
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(args.results.glob("*.json"))]
    page = "\n".join([INTRODUCTION + summary(reports), *map(render, reports)])
    args.output.write_text(page, encoding="utf-8")
    print(f"{len(reports)} comparisons in {args.output}")


if __name__ == "__main__":
    main()
