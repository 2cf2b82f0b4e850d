"""The spec that `cnnspec new` writes: small, complete, and with a remark on every part."""

from __future__ import annotations

STARTER = """\
# A small network for 28x28 grey images of ten kinds. Try:
#   cnnspec summary FILE                    shapes, parameters, work
#   cnnspec explain FILE conv1              why a shape is what it is
#   cnnspec compile FILE --backend torch    the source; also keras, numpy
#   cnnspec check FILE                      that all three are the same network
cnnspec: 1 # version of the spec language
name: my_network
input: [1, 28, 28] # channels, height, width; the batch is implied

layers:
  # a layer is an op over its fields; its input is the layer above, or what `from:` names
  - conv: {name: conv1, filters: 16, kernel: 3, padding: same, bias: false}
  - batch_norm: {name: bn1}
  - relu # an op without fields
  - max_pool: {kernel: 2, expect: [16, 14, 14]} # `expect` states the shape, and is checked

  - conv: {name: conv2, filters: 32, kernel: 3, padding: same, bias: false}
  - batch_norm: {name: bn2}
  - relu: {name: features}
  # a second branch that reads the same values, added again behind it
  - conv: {name: conv3, filters: 32, kernel: 3, padding: same}
  - add: {from: [features, conv3]}
  - relu
  - max_pool: {kernel: 2}

  - flatten
  - dropout: {p: 0.25}
  - dense: {name: fc, units: 10}
  - softmax

train: # optional; without it the source has no training functions
  loss: cross_entropy # or mean_squared_error
  optimizer: {adam: {lr: 0.001}} # or {sgd: {lr: 0.01, momentum: 0.9}}
  schedule: constant # or {exponential: {gamma: 0.6, every: epoch}}
  batch: 32
  epochs: 10
seed: 0 # of initial weights, dropout masks and the order of the data
"""


def starter() -> str:
    """The text of the starter spec, with a final line break."""
    return STARTER
