"""A size divided over ranks, where it divides."""

from typing import Any

from gptcalc.errors import GptcalcError
from gptcalc.spec.legality import near_divisors
from gptcalc.symbols import maximum


def divide(a: Any, b: Any, name_a: str, name_b: str) -> Any:
    """a / b where b divides a; of arrays, which `spec.legality` has said yes to or masks, the whole part.

    Raises GptcalcError naming both numbers where it does not.

    >>> divide(96, 8, "n_layer", "pipeline stages")
    12
    """
    if isinstance(b, int) and b == 1:
        return a
    if isinstance(a, int) and isinstance(b, int) and a % b:
        raise GptcalcError(f"{name_a} {a} is not a multiple of {name_b} {b}", hint=near_divisors(a, b, name_a, name_b))
    return a // b


def divided_groups(groups: Any, t: Any, name: str) -> Any:
    """Groups that heads share: divided where they divide, else each stands on several ranks.

    >>> divided_groups(8, 2, "n_group"), divided_groups(1, 4, "n_group")
    (4, 1)
    """
    if isinstance(groups, int) and isinstance(t, int) and t > groups:
        divide(t, groups, "tensor parallel size", name)
        return 1
    whole = divide(groups, t, name, "tensor parallel size")
    return whole if isinstance(whole, int) else maximum(whole, 1)
