"""What stands in a device's memory, when it is fullest, and whether it fits: training and serving.

- From the options of a step to what is computed: `plan.plan_of`, for `train` too. `memory` itself: `request.memory`.
- The peak of a training step, phase by phase: `phases.training_memory`; for arrays `layouts.peaks_of`. Its moments: `step`.
- What autograd keeps: `saved`. Weights, gradients, optimizer state: `states`. Adapters: `adapters`.
- What serving takes: `serving.serving_memory`; weights as a file stores them: `quantized`.
- Does it fit, and the cheapest change after which it does: `fit.verdict`, `fit.cheapest`. What stands beside tensors: `reserve.reserve`.
"""
