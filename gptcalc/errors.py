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


class NegativeAnswer(GptcalcError):  # noqa: N818 (an answer, not a fault)
    """A question that was understood, and whose answer is no: the command line exits with 1."""


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str | None = None) -> str | None:
    """The hint that names the known words nearest to `word`, or those that begin with it; `otherwise` where there are none.

    >>> did_you_mean("n_layers", ["n_layer", "n_head", "d_model"])
    "did you mean 'n_layer'?"
    """
    from difflib import get_close_matches

    typed, words = word.lower(), list(known)
    near = get_close_matches(typed, words, n=3, cutoff=0.61)
    if not near and len(typed) > 1:
        near = [name for name in words if name.lower().startswith(typed)][:3] or [name for name in words if typed in name.lower()][:3]
    if not near:
        return otherwise
    return "did you mean " + " or ".join(f"'{name}'" for name in near) + "?"
