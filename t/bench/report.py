# SPDX-License-Identifier: MIT
"""From measured rounds to one table, in text and as JSON, beside the results of the last run."""

import json
import os
import statistics

import work

# name: (unit, goal, smaller figures are better); goal is a number that Culver's figure must not pass, or a share of Dovecot's.
WHOLE = {
    "idle": ("KiB/conn", 5), "idle-tls": ("KiB/conn", 25), "exists-p50": ("ms", 10), "exists-p99": ("ms", 50), "active": ("MiB", None),
    "start": ("ms", None), "reload": ("ms", None), "reload-dropped": ("sessions", 0), "restart": ("ms", None),
}
SHARE = {"active": 4, "start": 1, "restart": 1}


def medians(results):
    """{row: {server: {figure: median}}} of {row: {server: [round, ..]}}"""
    out = {}
    for row, by in results.items():
        for server, rounds in by.items():
            keys = [k for k, v in rounds[0].items() if isinstance(v, (int, float))]
            out.setdefault(row, {})[server] = {k: statistics.median(r[k] for r in rounds if k in r) for k in keys}
            out[row][server]["rounds"] = len(rounds)
    return out


def figure(value):
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def ratios(by, servers, smaller_is_better):
    """How many times better Culver is than each of the others."""
    own = by.get("culver", {}).get("per_second")
    out = []
    for s in servers[1:]:
        other = by.get(s, {}).get("per_second")
        out.append(None if not own or not other else other / own if smaller_is_better else own / other)
    return out


def verdict(met):
    return "" if met is None else "yes" if met else "NO"


def goal_of_row(row, servers, ratio, by, limits):
    """(the goal as text, whether it is met or None)"""
    texts, met = [], []
    for server, is_ in zip(servers[1:], ratio):
        goal = row.goal_for(server)
        texts.append("-" if goal is None else f"{goal:g}")
        if goal is not None and is_ is not None:
            met.append(is_ >= goal)
    if row.of_limit and limits.get(row.limit):
        texts.append(f"{row.of_limit:.0%} of limit")
        share = share_of_limit(row, by, limits)
        if share is not None:
            met.append(share >= row.of_limit)
    return " / ".join(texts) if any(t != "-" for t in texts) else "-", all(met) if met else None


def share_of_limit(row, by, limits):
    own = by.get("culver", {})
    if not row.limit or row.limit not in limits or "per_second" not in own:
        return None
    rate = own["octets"] / own["seconds"] if row.limit == "loopback" else own["per_second"]
    return rate / limits[row.limit]["value"]


def rows_of(measured, servers, limits):
    """The table: one dict a row."""
    out = []
    for row in work.ROWS:
        by = measured.get(row.name)
        if not by:
            continue
        ratio = ratios(by, servers, False)
        goal, met = goal_of_row(row, servers, ratio, by, limits)
        rounds = [v for v in by.values()]
        out.append(dict(name=row.name, unit=next(iter(by.values())).get("unit", "") or "per second", figures=[by.get(s, {}).get("per_second") for s in servers],
                        ratios=ratio, goal=goal, met=met, cpu=[by.get(s, {}).get("server_cpu_us") for s in servers],
                        client=max(v.get("client_cpu_share", 0) for v in rounds), others=max(v.get("others", 0) for v in rounds),
                        share=share_of_limit(row, by, limits), limit=row.limit, smaller=False))
    for name, (unit, goal) in WHOLE.items():
        by = measured.get(name)
        if not by:
            continue
        ratio = ratios(by, servers, True)
        own = by.get("culver", {}).get("per_second")
        if name in SHARE:
            text, met = f"{SHARE[name]:g} times", all(r >= SHARE[name] for r in ratio if r is not None) if any(r is not None for r in ratio) else None
        else:
            text, met = "-" if goal is None else f"at most {goal:g}", None if goal is None or own is None else own <= goal
        out.append(dict(name=name, unit=unit, figures=[by.get(s, {}).get("per_second") for s in servers], ratios=ratio, goal=text, met=met,
                        cpu=[None] * len(servers), client=0, others=0, share=None, limit=None, smaller=True,
                        kernel=[by.get(s, {}).get("kernel") for s in servers]))
    return out


def change(row, before):
    """Against the last run: of the ratio where there is one (the machine's own changes fall out), else of the figure."""
    old = before.get(row["name"])
    if not old:
        return ""
    pairs = [(n, o) for n, o in zip(row["ratios"], old["ratios"]) if n and o]
    if pairs:
        new, was = pairs[-1]
    else:
        new, was = row["figures"][0], old["figures"][0]
        if row["smaller"] and new and was:
            new, was = was, new
    if not new or not was:
        return ""
    return f"{(new / was - 1) * 100:+.0f}%"


def text(rows, servers, limits, notes, before):
    head = f"{'work':19} {'unit':11}" + "".join(f"{s:>14}" for s in servers) + "".join(f"{'x ' + s[-7:]:>10}" for s in servers[1:])
    head += f"{'goal':>22} {'met':4}{'last':>7}" + "".join(f"{'us ' + s[-7:]:>11}" for s in servers) + f"{'client':>8}{'others':>8}  of what the machine allows"
    out = [head]
    for r in rows:
        line = f"{r['name']:19} {r['unit']:11}" + "".join(f"{figure(v):>14}" for v in r["figures"])
        line += "".join(f"{figure(v):>10}" for v in r["ratios"]) + f"{r['goal']:>22} {verdict(r['met']):4}{change(r, before):>7}"
        line += "".join(f"{figure(v):>11}" for v in r["cpu"])
        line += f"{r['client']:8.2f}{r['others']:8.2f}" if not r["smaller"] else ""
        if r.get("share") is not None:
            line += f"  {r['share']:.0%} of {r['limit']}"
        if r.get("kernel") and r["kernel"][0] is not None:
            line += "  in the kernel " + ", ".join(figure(v) for v in r["kernel"]) + " KiB"
        out.append(line)
    out.append("")
    out += [f"this machine: {figure(v['value'])} {v['what']}" for v in limits.values()]
    out += [f"note: {n}" for n in notes]
    missed = [r["name"] for r in rows if r["met"] is False]
    out.append(f"{sum(1 for r in rows if r['met'])} goals met, {len(missed)} not" + (": " + ", ".join(missed) if missed else ""))
    return "\n".join(out)


def load(path):
    """The last run's rows by name; none when there was none."""
    if not path or not os.path.exists(path):
        return {}
    return {r["name"]: r for r in json.load(open(path))["rows"]}


def save(path, rows, servers, limits, notes, options):
    """Rows that this run did not measure stay as they were."""
    kept = load(path)
    kept.update({r["name"]: r for r in rows})
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path + ".new", "w") as f:
        json.dump(dict(servers=servers, rows=list(kept.values()), machine=limits, notes=notes, options=options), f, indent=1)
    os.rename(path + ".new", path)
