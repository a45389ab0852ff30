"""A model's own code, run without data: what its training step holds, tensor by tensor, for those who have torch and transformers.

- `replay`: the peak and the reserved memory of a step, by replaying what the code allocates and frees through torch's allocator.
- `step`: the recording of one step: each allocation and each release, in order.
- `cuda`: what CUDA would run where these tensors have no device to ask.
- `caching`: torch's caching allocator, block by block.
"""
