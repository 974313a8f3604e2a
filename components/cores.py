"""How many cores there are to use."""


def usable_cores() -> int:
    """Cores that this process may use: those it is bound to, and no more than the limit of its container (cgroups)."""
    # It takes 0.2 s to import, which a command that counts no cores need not wait for.
    from joblib import cpu_count

    return cpu_count()
