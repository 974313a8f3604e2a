"""The part of the page that shows the data: class balance, sizes, counts and drift."""


def data_rows(facts: dict) -> dict:
    """Class balance, sizes, counts and drift, ready to be placed."""
    data = facts["data"]
    colours = {one["name"]: one["colour"] for one in facts["classes"]}
    balance = []
    for split, one in data["statistics"].items():
        shares = one["class_share"]
        names = sorted(shares, key=lambda name: list(colours).index(name) if name in colours else len(colours))
        parts = [{"name": n, "share": shares[n], "colour": colours.get(n) or "#6b705c"} for n in names]
        balance += [{"split": split, "parts": parts}] if parts else []
    stages = list(dict.fromkeys(stage for counts in data["counts"].values() for stage in counts))
    return {"balance": balance, "sizes": _sizes(data["statistics"]), "stages": stages, "drift": _drift(data)}


def _sizes(statistics: dict[str, dict]) -> list[dict]:
    """A small histogram of heights and widths of the training photos."""
    one = statistics.get("train") or statistics.get("eval") or {}
    sizes = []
    for name in ("width", "height"):
        if name in one:
            buckets = one[name]["histogram"]
            most = max((count for _, _, count in buckets), default=0) or 1
            columns = [
                {"label": f"{low:.0f} to {high:.0f} pixels", "count": count, "height": round(100 * count / most, 1)}
                for low, high, count in buckets
            ]
            sizes.append({"name": name, "columns": columns} | {key: one[name][key] for key in ("min", "mean", "max")})
    return sizes


def _drift(data: dict) -> list[dict]:
    """Mean of each watched feature of the training photos now and in the previous data."""
    now, before = (data[key].get("train") for key in ("statistics", "previous"))
    if not now or not before:
        return []
    rows = [
        {"feature": f"share of {name}", "now": share, "before": before["class_share"][name]}
        for name, share in now["class_share"].items()
        if name in before["class_share"]
    ]
    for name in ("brightness", "width", "height"):
        if name in now and name in before:
            rows.append({"feature": name, "now": now[name]["mean"], "before": before[name]["mean"]})
    return rows
