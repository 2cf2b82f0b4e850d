"""Optimizers and schedules: where eps stands, what decays, and when a rate changes."""

from __future__ import annotations

from tests.faults.fault import KERAS, NUMPY, STEPS, TORCH, Fault
from tests.faults.training import NET, train

ADAGRAD = train("{adagrad: {lr: 0.01}}")
RMSPROP = train("{rmsprop: {lr: 0.01}}")
CENTERED = train("{rmsprop: {lr: 0.01, centered: true}}")
BUFFERED = train("{rmsprop: {lr: 0.01, momentum: 0.9}}")
AMSGRAD = train("{adam: {lr: 0.01, betas: [0.9, 0.5], amsgrad: true}}")
ADAMW = train("{adamw: {lr: 0.01, weight_decay: 0.1}}")
ADADELTA = train("adadelta")
NADAM = train("{nadam: {lr: 0.01}}")
ADAMAX = train("{adamax: {lr: 0.01, eps: 0.001}}")
APART = train("{sgd: {lr: 0.1, weight_decay: 0.1, decoupled: true}}")


def scheduled(schedule: str) -> str:
    """The section with a schedule, of four epochs."""
    return train("{sgd: {lr: 0.1}}", schedule=schedule)


COSINE = scheduled("cosine")
MARKS = scheduled("{multi_step: {milestones: [1, 3]}}")
WARM = scheduled("{constant: {warmup: 3}}")
POLYNOMIAL = scheduled("{polynomial: {power: 2, every: update}}")
CYCLE = scheduled("one_cycle")

FAULTS = (
    Fault("Adagrad's eps inside the root", NUMPY, NET, "np.sqrt(a) + self.eps",
          "np.sqrt(a + self.eps)", STEPS, train=ADAGRAD),
    Fault("Adagrad's eps inside the root", KERAS, NET, "ops.sqrt(total) + self.epsilon",
          "ops.sqrt(total + self.epsilon)", STEPS, train=ADAGRAD),
    Fault("Adagrad's sums start at 0.1", TORCH, NET, "eps=1e-10",
          "eps=1e-10, initial_accumulator_value=0.1", STEPS, train=ADAGRAD),
    Fault("RMSprop's eps inside the root", KERAS, NET, "ops.sqrt(square) + self.epsilon",
          "ops.sqrt(square + self.epsilon)", STEPS, train=RMSPROP),
    Fault("RMSprop's alpha as Keras has it", TORCH, NET, "alpha=0.99", "alpha=0.9",
          STEPS, train=RMSPROP),
    Fault("RMSprop centered by the mean itself", NUMPY, NET, "v - m * m", "v - m * np.abs(m) / 2",
          STEPS, train=CENTERED),
    Fault("RMSprop not centered", TORCH, NET, "v.addcmul(m, m, value=-1)", "v.clone()",
          STEPS, train=CENTERED),
    Fault("RMSprop's learning rate inside the buffer", KERAS, NET,
          "self.momentum * buffer + change", "self.momentum * buffer + rate * change",
          STEPS, train=BUFFERED),
    Fault("amsgrad without the maximum", NUMPY, NET,
          "np.maximum(self.largest.get(name, v), v)", "v", STEPS, train=AMSGRAD),
    Fault("amsgrad without the maximum", KERAS, NET,
          "ops.maximum(self.largest[index], second)", "second", STEPS, train=AMSGRAD),
    Fault("amsgrad left out", TORCH, NET, ", amsgrad=True", "", STEPS, train=AMSGRAD),
    Fault("AdamW's decay coupled", TORCH, NET, "torch.optim.AdamW(", "torch.optim.Adam(",
          STEPS, train=ADAMW),
    Fault("AdamW's decay coupled", NUMPY, NET, "decoupled=True", "decoupled=False",
          STEPS, train=ADAMW),
    Fault("AdamW's decay coupled", KERAS, NET, "decoupled=True", "decoupled=False",
          STEPS, train=ADAMW),
    Fault("decoupled decay without the learning rate", NUMPY, NET, "1 - rate * decay",
          "1 - decay", STEPS, train=APART),
    Fault("decoupled decay after the update", TORCH, NET, "register_step_pre_hook",
          "register_step_post_hook", STEPS, train=APART),
    Fault("Adadelta's changes before this one decay", KERAS, NET, "ops.sqrt(former + self.epsilon)",
          "ops.sqrt(self.rho * former + self.epsilon)", STEPS, train=ADADELTA),
    Fault("Adadelta's changes are gradients", NUMPY, NET, "(1 - self.rho) * d * d",
          "(1 - self.rho) * gradient * gradient", STEPS, train=ADADELTA),
    Fault("Adadelta's eps once", TORCH, NET, "eps=1e-06", "eps=1e-07", STEPS, train=ADADELTA),
    Fault("the product of NAdam without its mu", NUMPY, NET, "self.products.get(name, 1.0) * mu",
          "self.products.get(name, 1.0) * beta1", STEPS, train=NADAM),
    Fault("the product of NAdam without its mu", KERAS, NET, "self.assign(product, product * mu)",
          "self.assign(product, product * b1)", STEPS, train=NADAM),
    Fault("NAdam's momentum without its decay", TORCH, NET, "momentum_decay=0.004",
          "momentum_decay=1.0", STEPS, train=NADAM),
    Fault("Adamax's eps outside the maximum", NUMPY, NET, "np.abs(gradient) + self.eps, out=u)",
          "np.abs(gradient), out=u)\n        u = u + self.eps", STEPS, train=ADAMAX),
    Fault("Adamax's eps outside the maximum", KERAS, NET, "ops.abs(gradient) + self.epsilon))",
          "ops.abs(gradient)) + self.epsilon)", STEPS, train=ADAMAX),
    Fault("Adamax's maximum corrected", TORCH, NET, "betas=(0.9, 0.999)", "betas=(0.9, 0.99)",
          STEPS, train=ADAMAX),
    Fault("a cosine one epoch ahead", TORCH, NET, "update // updates_per_epoch, 4",
          "update // updates_per_epoch + 1, 4", STEPS, ".learning_rate", train=COSINE),
    Fault("a cosine that ends one epoch late", NUMPY, NET, "math.pi * t / 4",
          "math.pi * t / 5", STEPS, ".learning_rate", train=COSINE),
    Fault("a milestone is exclusive", NUMPY, NET, ">= m", "> m", STEPS, ".learning_rate",
          train=MARKS),
    Fault("a warm-up from 0", KERAS, NET, "(epoch + 1) / 3", "epoch / 3", STEPS, ".learning_rate",
          train=WARM),
    Fault("a warm-up of one epoch more", TORCH, NET, "epoch < 3", "epoch <= 3",
          STEPS, ".learning_rate", train=WARM),
    Fault("a polynomial without its power", TORCH, NET, " ** 2.0", "", STEPS, ".learning_rate",
          train=POLYNOMIAL),
    Fault("a cycle without its way up", KERAS, NET, "0.3 * 4", "0.0 * 4",
          STEPS, ".learning_rate", train=CYCLE),
)  # fmt: skip
