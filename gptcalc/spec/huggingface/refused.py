"""Model types that transformers has and gptcalc does not understand, each with the reason."""

REFUSED: dict[str, str] = {}
