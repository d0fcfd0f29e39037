"""Write docs/performance.md from the JSON files of the comparisons.

python -m benchmarks.report
"""

import argparse
import json
from pathlib import Path
from typing import Any

from .measure import RESULTS, ROOT

INTRODUCTION = """# Performance

Made by `make bench` from `benchmarks/results/*.json`; not written by hand. Every side of a comparison runs in a fresh
process, the sides in turn, on the same rows; figures are medians over the rounds. Ratios carry over to other machines
better than seconds do. A goal that is missed is marked **missed**.
"""


def cell(value: Any) -> str:
    """Three significant digits for numbers, a dash where nothing was measured."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table, numbers on the right."""
    heads = list(rows[0])
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *([cell(row.get(head)) for head in heads] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def goal_row(goal: dict[str, Any]) -> dict[str, Any]:
    bound = f"{'≤' if goal['at_most'] else '≥'} {cell(goal['bound'])}"
    outcome = "not measured" if goal["value"] is None else "met" if goal["met"] else "**missed**"
    return {"goal": goal["what"], "bound": bound, "measured": cell(goal["value"]), "": outcome}


def render(report: dict[str, Any]) -> str:
    """One comparison as a section."""
    machine = report["machine"]
    parts = [f"## {report['title']}", f"    {report['command']}", table(report["table"])]
    if report["goals"]:
        parts.append(table([goal_row(goal) for goal in report["goals"]]))
    parts += report.get("notes", [])
    parts.append(
        f"{machine['cores']} cores of {machine['cpu']} ({', '.join(machine['instructions']) or 'no AVX'}), "
        f"{machine['memory_gib']} GiB, {machine['system']}; "
        + ", ".join(f"{name} {number}" for name, number in report["versions"].items())
        + "."
    )
    return "\n\n".join(parts) + "\n"


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
