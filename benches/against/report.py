"""Medians of the runs, ratios and goals, as text and as JSON."""
import statistics

from .scenarios import BARE, GOALS, SCENARIOS

FIGURES = ("wall_s", "cpu_s", "sent_bytes", "received_bytes", "stored_bytes", "containers", "load_before")
# Of runs with a registry that is far away.
FAR = {"far_wall_s": "wall_s", "far_requests": "requests", "far_writes": "writes"}
HEADINGS = ("scenario", "builder", "runs", "wall s", "(min-max)", "far wall s", "requests", "writes", "CPU s",
            "sent MB", "fetched MB", "stored MB", "containers", "load")


def medians(runs):
    """{(scenario, builder): {figure: median}} of the runs that went well; the figures of those with a
    registry that is far away are in the same row."""
    near, far = {}, {}
    for run in runs:
        if run["status"] == "ok":
            groups = far if run["latency_s"] else near
            groups.setdefault((run["scenario"], run["builder"]), []).append(run)
    return {key: dict(_medians(group, {figure: figure for figure in FIGURES}),
                      **_medians(far.get(key, []), FAR),
                      runs=len(group), wall_min=min(run["wall_s"] for run in group),
                      wall_max=max(run["wall_s"] for run in group))
            for key, group in sorted(near.items(), key=lambda item: _order(item[0]))}


def _medians(group, figures):
    return {name: statistics.median(run[figure] for run in group) for name, figure in figures.items() if group}


def _order(key):
    names = [scenario.name for scenario in SCENARIOS] + [BARE]
    return names.index(key[0]), key[1]


def ratios(table):
    """railyard / bake, per scenario and figure."""
    found = {}
    for (scenario, builder), ours in table.items():
        theirs = table.get((scenario, "bake"))
        if builder == "railyard" and theirs:
            found[scenario] = {figure: round(ours[figure] / theirs[figure], 3)
                               for figure in (*FIGURES[:-1], "far_wall_s")
                               if figure in ours and theirs.get(figure)}
    return found


def goals(table):
    """Of every goal: what was wanted, what was measured, whether that will do."""
    rows = []
    for alternatives in GOALS:
        measured = [(goal, _measured(goal, table)) for goal in alternatives]
        known = [(goal, value) for goal, value in measured if value is not None]
        met = any(value <= goal.most for goal, value in known)
        rows += [{"goal": goal.text, "figure": goal.figure, "most": goal.most,
                  "measured": round(value, 3), "met": met} for goal, value in known]
    return rows


def _measured(goal, table):
    ours = table.get((goal.scenario, "railyard"))
    if goal.against is None or ours is None:
        return ours and ours.get(goal.figure)
    theirs = table.get((BARE if goal.against == BARE else goal.scenario, goal.against))
    return ours[goal.figure] / theirs[goal.figure] if theirs and theirs[goal.figure] else None


def render(runs, with_goals):
    table = medians(runs)
    lines = _columns([HEADINGS, *(_row(key, row) for key, row in table.items())])
    found = ratios(table)
    if found:
        names = ("wall_s", "far_wall_s", "cpu_s", "sent_bytes", "received_bytes", "containers")
        rows = [(scenario, *("%.2f" % row[n] if n in row else "-" for n in names))
                for scenario, row in found.items()]
        headings = ("railyard / bake", "wall", "far wall", "CPU", "sent", "fetched", "containers")
        lines += ["", *_columns([headings, *rows])]
    wanted = goals(table) if with_goals else []
    if wanted:
        rows = [(row["goal"], row["figure"], "<= %.2f" % row["most"], "%.3f" % row["measured"],
                 "met" if row["met"] else "MISSED") for row in wanted]
        lines += ["", *_columns([("goal", "figure", "wanted", "measured", ""), *rows])]
    failed = [run for run in runs if run["status"] != "ok"]
    lines += ["", *("FAILED: round %(round)d, %(builder)s, %(scenario)s, latency %(latency_s)g s: %(status)s" % run
                    for run in failed)]
    return "\n".join(lines).rstrip() + "\n"


def _row(key, row):
    scenario, builder = key
    return (scenario, builder, str(row["runs"]), "%.2f" % row["wall_s"],
            "%.2f-%.2f" % (row["wall_min"], row["wall_max"]),
            "%.2f" % row["far_wall_s"] if "far_wall_s" in row else "-",
            *("%g" % row[name] if name in row else "-" for name in ("far_requests", "far_writes")),
            "%.1f" % row["cpu_s"],
            _megabytes(row["sent_bytes"]), _megabytes(row["received_bytes"]), _megabytes(row["stored_bytes"]),
            "%g" % row["containers"], "%.1f" % row["load_before"])


def _megabytes(count):
    return "%.1f" % (count / 1e6)


def _columns(rows):
    """Text columns to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    number = [all(cell[:1].isdigit() or cell == "-" for cell in column[1:]) for column in zip(*rows)]
    return ["  ".join(cell.rjust(width) if right else cell.ljust(width)
                      for cell, width, right in zip(row, widths, number)).rstrip() for row in rows]
