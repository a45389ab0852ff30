"""What a shell completes: the names of models, devices, clusters, stacks, runtimes and servers."""

import typer


def complete(typed: str) -> list[str]:
    """The names of models that begin so."""
    from gptcalc.spec.catalogue import names

    return [name for name in names() if name.startswith(typed.lower())]


def complete_device(typed: str) -> list[str]:
    """The last of several names with commas between them."""
    from gptcalc.spec.catalogue import names_of

    before, comma, last = typed.rpartition(",")
    return [before + comma + name for name in names_of("devices") if name.startswith(last.lower())]


def complete_cluster(typed: str) -> list[str]:
    """The names of clusters that begin so."""
    from gptcalc.spec.catalogue import names_of

    return [name for name in names_of("clusters") if name.startswith(typed.lower())]


def complete_stack(typed: str) -> list[str]:
    """The names of stacks that begin so."""
    return _files("stacks", typed)


def complete_runtime(typed: str) -> list[str]:
    """The names of runtimes that begin so."""
    return _files("runtimes", typed)


def complete_server(typed: str) -> list[str]:
    """The names of inference runtimes that begin so."""
    from gptcalc.spec.server import server_names

    return [name for name in server_names() if name.startswith(typed.lower())]


def complete_engine(typed: str) -> list[str]:
    """The names of servers that begin so."""
    from gptcalc.spec.server import engine_names

    return [name for name in engine_names() if name.startswith(typed.lower())]


def _files(kind: str, typed: str) -> list[str]:
    from gptcalc.spec.catalogue import files_by_name

    return [name for name in files_by_name(kind) if name.startswith(typed.lower())]


def complete_hardware(ctx: typer.Context, typed: str) -> list[str]:
    """Of `devices`: whichever list is asked for."""
    listed = complete_cluster if ctx.params.get("clusters") else complete_stack if ctx.params.get("stacks") else complete_device
    return listed(typed)


COMPLETIONS = {"devices": complete_device, "clusters": complete_cluster, "stacks": complete_stack, "runtimes": complete_runtime}
"""By what an option names (`Option.completes`)."""
