"""Numbers as people read them, the same on the page and in the terminal."""


def score_text(value: float | None, half_width: float | None = None) -> str:
    """A score to three decimals, with half its confidence interval where there is one; a dash where it is undefined."""
    if value is None:
        return "-"
    return f"{value:.3f}" if half_width is None else f"{value:.3f} ± {half_width:.3f}"


def duration_text(seconds: float) -> str:
    """`8.3 s`, `4 min 3 s`, `2 h 5 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
