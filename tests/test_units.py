"""Numbers in and out of text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcalc.errors import GptcalcError
from gptcalc.ranges import Range, check_range, read_range, spreads
from gptcalc.symbols import Symbol
from gptcalc.units import SCALES, binary, parse_count, parse_number, short


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("300B", 300 * 10**9),
        ("3.14e23", 314 * 10**21),
        ("40GiB", 40 * 2**30),
        ("80GB", 80 * 10**9),
        ("1_000", 1000),
        ("174,604,259,328", 174604259328),
        ("0.45", 0.45),
        ("  12 M ", 12 * 10**6),
        ("300b", 300 * 10**9),
        ("300 billion", 300 * 10**9),
        ("1.5 Trillion", 15 * 10**11),
        ("128k", 128_000),
        ("7m", 7 * 10**6),
        (".5", 0.5),
        (7, 7),
        (2.0, 2),
    ],
)
def test_numbers_as_people_write_them(text: object, value: float) -> None:
    assert parse_number(text) == value


@pytest.mark.parametrize(
    "text", ["", "abc", "1e400", "nan", "inf", float("nan"), float("inf"), None, True, [], "1 2", "1XB", "1e", "--1", "9" * 80]
)
def test_what_is_no_number_is_refused(text: object) -> None:
    with pytest.raises(GptcalcError):
        parse_number(text)


@pytest.mark.parametrize("text", ["0", "-3", "1.5", "0.45"])
def test_counts_are_whole_and_above_zero(text: str) -> None:
    with pytest.raises(GptcalcError):
        parse_count(text)


@pytest.mark.parametrize("text", ["300GB", "1 KiB", "2TB", "5kB"])
def test_bytes_are_no_count(text: str) -> None:
    assert parse_number(text) > 0
    for read in (parse_count, parse_number):
        with pytest.raises(GptcalcError, match="a size in bytes, not a count"):
            read(text, of_bytes=False)


@pytest.mark.parametrize(("text", "hint"), [("2,50", "2.50"), ("1,5", "1.5"), ("abc", "300B")])
def test_the_hint_says_how_to_write_it(text: str, hint: str) -> None:
    with pytest.raises(GptcalcError) as refused:
        parse_number(text)
    assert hint in str(refused.value.hint)


SHARES = {"45%": 0.45, " 45 % ": 0.45, "0.45": 0.45, 0.45: 0.45}


@pytest.mark.parametrize("text", SHARES)
def test_shares_may_be_per_cent(text: object) -> None:
    assert read_range(text, "mfu").likely == SHARES[text]
    assert check_range(read_range(text, "mfu"), "mfu", upto=1.0).likely == SHARES[text]


@pytest.mark.parametrize("text", ["0", "1e-7", "1e-300", "45", "45..50", "101%", "0..0.5", "-0.4"])
def test_a_share_is_between_a_millionth_and_one(text: str) -> None:
    with pytest.raises(GptcalcError, match="mfu must be from 1e-06 to 1"):
        check_range(read_range(text, "mfu"), "mfu", upto=1.0)


def test_money_may_have_its_sign_and_nothing_else_may() -> None:
    assert read_range("$2..$3", "price") == Range(2.0, 2.5, 3.0)
    assert read_range("2 USD", "price").likely == 2
    for text, name in (("$2", "carbon"), ("45%", "price"), ("2GB", "price"), ("300GB", "mfu")):
        with pytest.raises(GptcalcError, match=name):
            read_range(text, name)


def test_a_range_from_zero_has_no_factor_and_comes_first() -> None:
    found = spreads({"mfu": Range(0.1, 0.5, 1.0), "carbon": Range(0.0, 0.1, 0.2)})
    assert [(one["input"], one["factor"]) for one in found] == [("carbon", None), ("mfu", 10.0)]


@given(st.integers(1, 10**12), st.sampled_from([unit for unit in SCALES if unit]))
def test_a_unit_multiplies(number: int, unit: str) -> None:
    if number * SCALES[unit] <= 10**30:
        assert parse_number(f"{number}{unit}") == number * SCALES[unit]


@given(st.integers(0, 10**30))
def test_short_text_is_near_the_number_and_short(number: int) -> None:
    text = short(number, "FLOP").removesuffix("FLOP").strip()
    digits, _, suffix = text.partition(" ")
    scale = {
        "": 1,
        "k": 10**3,
        "M": 10**6,
        "G": 10**9,
        "T": 10**12,
        "P": 10**15,
        "E": 10**18,
        "Z": 10**21,
        "Y": 10**24,
        "R": 10**27,
        "Q": 10**30,
    }
    assert float(digits.replace(",", "")) * scale[suffix] == pytest.approx(number, rel=5.1e-4)
    assert len(digits) <= 5
    assert float(digits.replace(",", "")) < 1000


@given(st.integers(0, 2**70))
def test_binary_text_is_near_the_number(number: int) -> None:
    digits, unit = binary(number).split()
    assert float(digits.replace(",", "")) * (SCALES | {"B": 1})[unit] == pytest.approx(number, rel=0.01, abs=1)


letters = st.sampled_from("LdVHQ").map(Symbol.letter)
expressions = st.recursive(
    letters | st.integers(-3, 5),
    lambda inner: st.tuples(st.sampled_from("+-*"), inner, inner).map(
        lambda t: {"+": t[1] + t[2], "-": t[1] - t[2], "*": t[1] * t[2]}[t[0]]
    ),
    max_leaves=6,
)


@given(expressions, expressions, st.lists(st.integers(1, 99), min_size=5, max_size=5))
def test_the_text_of_symbols_is_their_arithmetic(a: Symbol | int, b: Symbol | int, values: list[int]) -> None:
    numbers = dict(zip("LdVHQ", values, strict=True))
    for result, expected in ((a + b, "({}) + ({})"), (a - b, "({}) - ({})"), (a * b, "({}) * ({})")):
        assert eval(str(result), {}, numbers) == eval(expected.format(a, b), {}, numbers)


@pytest.mark.parametrize("text", ["3,5B", "1..8,9", "8,9", "1,00", "1,0000", "1000,000", ",5", "1,_00"])
def test_commas_group_three_digits_and_nothing_else(text: str) -> None:
    with pytest.raises(GptcalcError, match="is not a number"):
        parse_number(text)


def test_grouped_digits_are_read() -> None:
    assert (parse_number("1,000"), parse_number("1,234,567.5"), parse_number("12,000K")) == (1000, 1234567.5, 12_000_000)
