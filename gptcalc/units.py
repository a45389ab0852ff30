"""Numbers as people write them (`300B`, `40GiB`, `3.14e23`) to exact numbers, and back to text that says its unit.

Base units inside: parameters, FLOP, byte, second. K, M, B, T are powers of 1000 in either case, and GB is 1e9; KiB, MiB, GiB, TiB are
powers of 1024.
"""

import re
from decimal import Context, Decimal, InvalidOperation

from gptcalc.errors import GptcalcError

SCALES = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
SCALES |= {"m": 10**6, "b": 10**9, "t": 10**12, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
BYTES = {f"{prefix}B": 1000**power for power, prefix in enumerate("kMGTPE", start=1)}
BYTES |= {f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGTPE", start=1)}
BYTES["KB"] = BYTES["kB"]
SCALES |= BYTES

_NUMBER = re.compile(r"([+-]?(?:(?:\d{1,3}(?:,\d{3})+|\d[\d_]*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?)\s*([A-Za-z]*)")

EXACT = Context(prec=100)
"""More digits than any number that is read here has."""

LARGEST = 10**30
"""No quantity that gptcalc reads is larger; what is, is a slip of the keyboard."""


def parse_number(value: object, *, of_bytes: bool = True) -> int | float:
    """An exact int where the value is whole, a float otherwise. Without `of_bytes` it counts something else, tokens or devices.

    Raises GptcalcError for text that is not a number, an unknown suffix, NaN, infinity, and magnitudes above 1e30.

    >>> parse_number("300B"), parse_number("40GiB"), parse_number("3.14e23"), parse_number("0.45")
    (300000000000, 42949672960, 314000000000000000000000, 0.45)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise GptcalcError(f"{_shown(value)} is not a number")
    if isinstance(value, int) and abs(value) > LARGEST:  # Python refuses to write out an int of thousands of digits
        raise GptcalcError("a whole number is too large: nothing that gptcalc counts is above 1e30")
    text = str(value).strip()
    match = _NUMBER.fullmatch(text) if len(text) < 60 else None
    if match is None:
        raise GptcalcError(f"{_shown(value)} is not a number", hint=_way_to_write(text, of_bytes))
    digits, suffix = match.groups()
    suffix = suffix if suffix in SCALES else suffix.lower() if suffix.lower() in SCALES else suffix
    if suffix not in SCALES:
        sizes = ", GB, KiB, MiB, GiB, TiB (powers of 1024)" if of_bytes else ""
        raise GptcalcError(f"{_shown(value)} has an unknown unit '{suffix}'", hint=f"known: K, M, B, T (powers of 1000){sizes}")
    if suffix in BYTES and not of_bytes:
        raise GptcalcError(f"{_shown(value)} is a size in bytes, not a count", hint="300B is 300 billion, 128K is 128,000")
    try:
        number = EXACT.multiply(Decimal(re.sub("[_,]", "", digits)), Decimal(SCALES[suffix]))
    except InvalidOperation:  # Decimal refuses exponents beyond its own range
        raise GptcalcError(f"{_shown(value)} is not a number that can be computed with") from None
    if abs(number) > LARGEST:
        raise GptcalcError(f"{_shown(value)} is too large: nothing that gptcalc counts is above 1e30")
    return int(number) if number == number.to_integral_value() else float(number)


def _way_to_write(text: str, of_bytes: bool) -> str:
    """The hint for what is no number."""
    if re.fullmatch(r"\d+,\d{1,2}", text):
        return f"a decimal has a point: {text.replace(',', '.')}"
    return f"write it as 300B, {'40GiB, ' if of_bytes else ''}1_000, 1,000 or 3.14e23"


def parse_count(value: object, *, of_bytes: bool = True) -> int:
    """A positive whole number.

    Raises GptcalcError for everything else, zero and negative numbers included.

    >>> parse_count("1.5K")
    1500
    """
    number = parse_number(value, of_bytes=of_bytes)
    if not isinstance(number, int):
        raise GptcalcError(f"{_shown(value)} is not a whole number")
    if number <= 0:
        raise GptcalcError(f"{_shown(value)} is not above zero")
    return number


def short(number: float, unit: str = "", digits: int = 4) -> str:
    """At most four significant digits and a power-of-1000 suffix; the rounding comes before the choice of the suffix.

    >>> short(174604259328), short(999999), short(3.14e23, "FLOP"), short(512), short(358.8e9, "FLOP", digits=3)
    ('174.6 B', '1.000 M', '314.0 ZFLOP', '512', '359 GFLOP')
    """
    suffixes = ("", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q") if unit else ("", "K", "M", "B", "T")
    power, scaled = 0, float(f"{number:.{digits}g}")
    if abs(scaled) < 1000 and float(number).is_integer():
        return f"{number:,.0f} {unit}".rstrip()
    while abs(scaled) >= 1000 and power < len(suffixes) - 1:
        power, scaled = power + 1, scaled / 1000
    whole = len(str(int(abs(scaled))))
    return f"{scaled:,.{max(0, digits - whole)}f} {suffixes[power]}{unit}".rstrip()


def binary(n_bytes: float) -> str:
    """Bytes in KiB, MiB, GiB ... (powers of 1024), which the unit shows.

    >>> binary(9663676416), binary(1023), binary(1048575)
    ('9.00 GiB', '1,023 B', '1.00 MiB')
    """
    if abs(n_bytes) < 1024:
        return f"{n_bytes:,.0f} B"
    for power, prefix in enumerate("KMGTPE", start=1):
        scaled = n_bytes / 1024**power
        if round(abs(scaled), 2) < 1024 or prefix == "E":
            return f"{scaled:,.2f} {prefix}iB"
    raise AssertionError("unreachable")


def _shown(value: object) -> str:
    try:
        text = repr(value).replace("\n", "")  # an array's rows
    except ValueError:  # such an int, inside a list or a mapping
        text = f"this {type(value).__name__}"
    return text if len(text) <= 40 else text[:37] + "..."
