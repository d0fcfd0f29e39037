"""Figures, goals and machines in Markdown."""

from typing import Any


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
        (f"{machine['gpu']}; " if "gpu" in machine else "")
        + f"{machine['cores']} cores of {machine['cpu']} ({', '.join(machine['instructions']) or 'no AVX'}), "
        f"{machine['memory_gib']} GiB, {machine['system']}; "
        + ", ".join(f"{name} {number}" for name, number in report["versions"].items())
        + "."
    )
    return "\n\n".join(parts) + "\n"
