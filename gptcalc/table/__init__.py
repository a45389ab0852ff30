"""What a model is: its operations row by row, and the parameters and FLOPs that are sums of their columns.

- How many parameters, and where: `params.params`; as papers quote the total: `params.views`.
- How much arithmetic: `flops.flops`; as six papers would count it: `conventions.conventions`. Several models: `compare.compare`.
- What a forward pass does, row by row: `operations.operations`, of the sublayers in `sublayers`.
- What one device has of it: `sharding.shard_of`. What a runtime has code for: `code.code_of`.
"""
