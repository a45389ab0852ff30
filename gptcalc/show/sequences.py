"""How long the sequences of an answer are, and why, where nobody need have asked for that length."""

from gptcalc.spec.model import ModelSpec


def why(model: ModelSpec, seq: int) -> str:
    """Behind the length of a sequence: that the model was trained with it, or that the model takes longer ones.

    >>> from gptcalc.spec.files import load_model
    >>> why(load_model("llama3.1-8b", {"training_seq": 4096}), 4096), why(load_model("gpt2"), 1024)
    (' (trained with)', '')
    """
    if seq == model.training_seq:
        return " (trained with)"
    return f" (the longest is {model.n_ctx:,})" if seq == model.usual_seq < model.n_ctx else ""


def sequences(model: ModelSpec, seq: int) -> str:
    """In words, such as `8,192-token sequences (the longest is 131,072)`.

    >>> from gptcalc.spec.files import load_model
    >>> sequences(load_model("gpt2", {"n_ctx": 32768}), 8192)
    '8,192-token sequences (the longest is 32,768)'
    """
    return f"{seq:,}-token sequences{why(model, seq)}"
