"""The command lines that start a server as it was computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gptcalc.errors import GptcalcError
from gptcalc.spec.options import check_word

if TYPE_CHECKING:
    from gptcalc.serve.demand import Demand

KNOWN = ("vllm", "sglang", "trtllm")


def command_line(d: Demand, name: str, sequences: int) -> str:
    """One replica of it, of so many sequences at once.

    Source: vllm/engine/arg_utils.py of vLLM 0.33 and sglang/srt/server_args.py of SGLang 0.5.23, where each of these options was looked up
    (SGLang's --enable-dp-attention is its older spelling of --attn-dp-size there, and the only one of 0.5.1 to 0.5.9). Options of
    trtllm-serve are from TensorRT-LLM's documentation of 1.0 and were not looked up in its code.

    Raises GptcalcError for a server whose options are not known.
    """
    check_word("server to write for named", name, KNOWN)
    if d.draft:
        raise GptcalcError("which model drafts is not known: a command line cannot be written", hint="leave out --draft or --write")
    layout, kv = d.layout, d.kv_precision
    words: list[tuple[str, object]]
    if name == "vllm":
        start = f"vllm serve {d.model.name}"
        words = [("tensor-parallel-size", layout.tp), ("pipeline-parallel-size", layout.pp), ("data-parallel-size", layout.attention_dp)]
        words += [("enable-expert-parallel", "")] * (layout.ep > 1) + [("kv-cache-dtype", "fp8")] * (kv == "fp8")
        words += [("max-num-batched-tokens", d.chunk), ("max-num-seqs", sequences), ("gpu-memory-utilization", d.memory_share)]
    elif name == "sglang":
        start = f"python -m sglang.launch_server --model-path {d.model.name}"
        words = [("tp-size", layout.tp * layout.attention_dp), ("pp-size", layout.pp)]
        words += [("dp-size", layout.attention_dp), ("enable-dp-attention", "")] if layout.attention_dp > 1 else []
        words += [("ep-size", layout.ep)] * (layout.ep > 1) + [("kv-cache-dtype", "fp8_e4m3")] * (kv == "fp8")
        words += [("chunked-prefill-size", d.chunk), ("max-running-requests", sequences), ("mem-fraction-static", d.memory_share)]
    else:
        start = f"trtllm-serve {d.model.name}"
        words = [("tp_size", layout.tp * layout.attention_dp), ("pp_size", layout.pp), ("ep_size", layout.ep)]
        words += [("max_num_tokens", d.chunk), ("max_batch_size", sequences), ("kv_cache_free_gpu_memory_fraction", d.memory_share)]
        if layout.attention_dp > 1:
            words.append(("extra_llm_api_options", "<(echo 'enable_attention_dp: true')"))
    default = {"pipeline-parallel-size": 1, "data-parallel-size": 1, "pp-size": 1, "pp_size": 1, "ep_size": 1}
    return " ".join([start, *(f"--{word} {value}".strip() for word, value in words if default.get(word) != value)])
