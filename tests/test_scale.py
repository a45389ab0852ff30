"""Scaling laws against the rows that their papers print, and the laws of every optimum."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import gptcalc as gc
from gptcalc.cli.commands import application
from gptcalc.search.laws import BESIROGLU, DEEPSEEK, HOFFMANN_1, HOFFMANN_2, HOFFMANN_3, KAPLAN, LAWS, LLAMA3, MIXTURE, Law, Parametric
from gptcalc.search.repeated import REPEATED, served

APPROACH_1 = [  # Hoffmann et al. 2022, Table 3: parameters, FLOP, tokens
    (4e8, 1.92e19, 8e9),
    (1e9, 1.21e20, 20.2e9),
    (10e9, 1.23e22, 205.1e9),
    (67e9, 5.76e23, 1.5e12),
    (175e9, 3.85e24, 3.7e12),
    (280e9, 9.9e24, 5.9e12),
    (520e9, 3.43e25, 11e12),
    (1e12, 1.27e26, 21.2e12),
    (10e12, 1.3e28, 216.2e12),
]
APPROACHES_2_3 = [  # Table A3: parameters, FLOP and tokens of approach 2, of approach 3
    (4e8, 1.84e19, 7.7e9, 2.21e19, 9.2e9),
    (1e9, 1.2e20, 20e9, 1.62e20, 27.1e9),
    (10e9, 1.32e22, 219.5e9, 2.46e22, 410.1e9),
    (67e9, 6.88e23, 1.7e12, 1.71e24, 4.1e12),
    (175e9, 4.54e24, 4.3e12, 1.26e25, 12e12),  # printed 1.26e24: 6 x 175e9 x 12e12 = 1.26e25
    (280e9, 1.18e25, 7.1e12, 3.52e25, 20.1e12),
    (520e9, 4.19e25, 13.4e12, 1.36e26, 43.5e12),
    (1e12, 1.59e26, 26.5e12, 5.65e26, 94.1e12),
    (10e12, 1.75e28, 292e12, 8.55e28, 1425.5e12),
]


@pytest.mark.parametrize(("params", "flops", "tokens"), APPROACH_1)
def test_chinchilla_table_3(params: float, flops: float, tokens: float) -> None:
    assert HOFFMANN_1.flops_of_params(params) == pytest.approx(flops, rel=0.1)
    assert HOFFMANN_1.optimum(flops) == (pytest.approx(params, rel=0.1), pytest.approx(tokens, rel=0.1))


@pytest.mark.parametrize(("params", "flops_2", "tokens_2", "flops_3", "tokens_3"), APPROACHES_2_3)
def test_chinchilla_table_a3(params: float, flops_2: float, tokens_2: float, flops_3: float, tokens_3: float) -> None:
    assert HOFFMANN_2.optimum(flops_2) == (pytest.approx(params, rel=0.1), pytest.approx(tokens_2, rel=0.1))
    # of 280 B the printed tokens are 4 % fewer than the printed FLOP over 6·N: the rounding of the one or of the other
    assert tokens_3 == pytest.approx(flops_3 / (6 * params), rel=0.05)
    assert HOFFMANN_3.optimum(flops_3) == (pytest.approx(params, rel=0.1), pytest.approx(flops_3 / (6 * params), rel=0.1))


def test_the_replication_and_the_law_it_replicates() -> None:
    assert [BESIROGLU.optimum(c)[1] / BESIROGLU.optimum(c)[0] for c in (1e21, 5.76e23, 3.8e25)] == pytest.approx(
        [21.6, 18.4, 16.5], abs=0.05
    )
    assert BESIROGLU.exponent == pytest.approx(0.5126, abs=1e-4)  # printed


def test_llama_3_and_deepseek_and_kaplan() -> None:
    params, tokens = LLAMA3.optimum(3.8e25)
    assert (params, tokens) == (pytest.approx(402e9, rel=0.04), pytest.approx(16.55e12, rel=0.02))
    assert DEEPSEEK.flops_per_token(4.5e23) == pytest.approx(4.3e11, rel=0.01)
    assert DEEPSEEK.optimum(4.5e23)[1] == pytest.approx(1.04e12, rel=0.01)
    assert KAPLAN.optimum(1e24)[0] / KAPLAN.optimum(1e23)[0] == pytest.approx(5.37, abs=0.01)  # ten times the compute


def test_deepseek_counts_a_token_as_the_operation_table_does() -> None:
    """72·L·d² + 12·L·d·T are the matmuls of a block with full attention, forward and backward, where the MLP is four wide."""
    model = gc.model("gpt2", {"n_layer": 30, "d_model": 4096, "n_head": 32, "d_ff": 16384, "n_ctx": 4096})
    step = gc.flops(model, batch=1, seq=4096, phase="training")
    block = step.matmul["forward"]["block"].value + step.matmul["backward"]["block"].value
    assert block / 4096 == pytest.approx(72 * 30 * 4096**2 + 12 * 30 * 4096 * 4096, rel=1e-12)


@pytest.mark.parametrize(
    ("active", "tokens", "granularity", "flops", "loss"),
    [  # Krajewski et al. 2024, Table 2
        (0.1e9, 4.37e9, 8, 2.95e18, 3.133),
        (1e9, 28.94e9, 16, 1.93e20, 2.491),
        (3e9, 72.9e9, 16, 1.41e21, 2.245),
        (7e9, 137.6e9, 32, 6.46e21, 2.076),
        (70e9, 941.07e9, 32, 4.16e23, 1.694),
        (300e9, 2.96e12, 64, 5.69e24, 1.503),
        (1e12, 7.94e12, 64, 4.97e25, 1.367),
    ],
)
def test_mixtures_of_experts(active: float, tokens: float, granularity: int, flops: float, loss: float) -> None:
    assert MIXTURE.loss(active, tokens, granularity) == pytest.approx(loss, abs=0.03)
    assert MIXTURE.flops(active, tokens, granularity) == pytest.approx(flops, rel=0.005)
    assert MIXTURE.optimum(flops) == (pytest.approx(active, rel=0.05), pytest.approx(tokens, rel=0.05), granularity)


def test_repeated_tokens() -> None:
    """Muennighoff et al.'s own printed values: two losses, and the best split between them."""
    assert REPEATED.loss(6.34e9, 242e9, 25e9) == pytest.approx(2.2256440889984477, abs=1e-12)
    assert REPEATED.loss(8.67e9, 178e9, 25e9) == pytest.approx(2.2269634075087867, abs=1e-12)
    params, tokens = REPEATED.optimum(6 * 7022364735.879969 * 237336955477.55, 25e9)
    assert (params, tokens) == (pytest.approx(7022364735.88, rel=1e-3), pytest.approx(237336955477.55, rel=1e-3))


@pytest.mark.parametrize(
    ("params", "serve", "cheapest", "tokens", "saved"), [(13e9, 2e12, 6.97e9, 1.25e12, 0.17), (30e9, 10e12, 13.61e9, 4.43e12, 0.28)]
)
def test_served_tokens(params: float, serve: float, cheapest: float, tokens: float, saved: float) -> None:
    """Sardana et al.'s two examples, with the finer exponents that reproduce them."""
    law = Parametric("chinchilla-3", "", 1.69, 406.4, 410.7, 0.336, 0.283, (6e18, 3e21))
    found = served(law, params, law.flops_of_params(params) / (6 * params), serve)
    assert (found.params, found.tokens) == (pytest.approx(cheapest, rel=0.005), pytest.approx(tokens, rel=0.005))
    assert found.saved == pytest.approx(saved, abs=0.005)


compute = st.floats(1e17, 1e28)


@given(st.sampled_from(LAWS), compute)
def test_an_optimum_is_the_optimum_of_its_own_parameters_and_tokens(law: Law, flops: float) -> None:
    params, tokens = law.optimum(flops)
    assert law.flops_of_params(params) == pytest.approx(flops, rel=1e-6)
    assert law.flops_of_tokens(tokens) == pytest.approx(flops, rel=1e-6)
    more = law.optimum(2 * flops)
    assert more[0] > params
    assert more[1] > tokens


@given(st.sampled_from([BESIROGLU, HOFFMANN_3]), compute, st.floats(0.2, 5))
def test_no_other_split_of_the_compute_has_less_loss(law: Parametric, flops: float, times: float) -> None:
    params, tokens = law.optimum(flops)
    assert law.loss(params, tokens) <= law.loss(params * times, tokens / times) * (1 + 1e-12)


@given(compute, st.floats(1e9, 1e13))
def test_fewer_unique_tokens_never_lessen_the_loss(flops: float, unique: float) -> None:
    few, many = REPEATED.optimum(flops, unique), REPEATED.optimum(flops, 2 * unique)
    assert REPEATED.loss(*few, unique) >= REPEATED.loss(*many, 2 * unique) * (1 - 1e-9)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(application(), ["scale", *arguments])


def test_a_budget_is_flop_by_price_peak_and_utilization() -> None:
    answer = json.loads(run("--budget", "2M", "--price", "2", "--mfu", "0.5", "--device", "h100", "--count", "1000", "-f", "json").stdout)
    money = answer["result"][0]["money"]
    assert money["flops"] == pytest.approx(1e6 * 3600 * 989.4e12 * 0.5)
    assert money["time"] == pytest.approx(1e6 / 1000 * 3600)
    assert answer["result"][0]["flops"] == money["flops"]


def test_a_law_far_from_its_data_says_so() -> None:
    assert "333 times" in run("--flops", "1e24").stdout
    assert [one.beyond for one in gc.scale(flops=1e20).optima] == [None] * len(LAWS)


@pytest.mark.parametrize(
    "arguments",
    [[], ["--flops", "1e24", "--budget", "1M"], ["--flops", "0"], ["--flops", "-1"], ["--flops", "x"], ["--tokens", "1T", "--mfu", "0.4"]],
)
def test_what_scale_refuses(arguments: list[str]) -> None:
    outcome = run(*arguments)
    assert isinstance(outcome.exception, gc.GptcalcError)
    assert "\n" not in str(outcome.exception)


def test_mixtures_start_from_compute() -> None:
    with pytest.raises(gc.GptcalcError, match="starts from compute"):
        gc.scale(params="70B", experts=True)
