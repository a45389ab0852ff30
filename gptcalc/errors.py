"""The one kind of exception that reaches a caller, and the "did you mean" of its hints."""

from collections.abc import Iterable


class GptcalcError(ValueError):
    """Bad input, said in one line; `hint`, where there is one, says what to do instead.

    >>> raise GptcalcError("no model named 'gpt3-17b'", hint="did you mean 'gpt3-175b'?")
    Traceback (most recent call last):
    gptcalc.errors.GptcalcError: no model named 'gpt3-17b'
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str | None = None) -> str | None:
    """The hint that names the known words nearest to `word`; `otherwise` where none is near.

    >>> did_you_mean("n_layers", ["n_layer", "n_head", "d_model"])
    "did you mean 'n_layer'?"
    """
    from difflib import get_close_matches

    near = get_close_matches(word.lower(), list(known), n=3, cutoff=0.6)
    if not near:
        return otherwise
    return "did you mean " + " or ".join(f"'{name}'" for name in near) + "?"
