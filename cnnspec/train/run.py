"""The loop: updates, checkpoints, metrics; every update is left to the emitted file."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

import numpy as np

from cnnspec.backends.base import At, Ranks, Session
from cnnspec.data import Dataset, Samples
from cnnspec.data.batches import Batch, batches
from cnnspec.data.dataset import Array
from cnnspec.diagnostics import SetupError, UserError
from cnnspec.graph import Graph
from cnnspec.train import nonfinite, stopping
from cnnspec.train.checkpoint import Checkpoint
from cnnspec.train.interrupt import Interrupt, Interrupted
from cnnspec.train.metrics import Epoch, Score, evaluate, measured
from cnnspec.train.nonfinite import Place
from cnnspec.train.progress import Progress, line
from cnnspec.train.rundir import RunDirectory
from cnnspec.train.updates import Updates, grouped
from cnnspec.training import Training

__all__ = ["Run", "Stopping"]


@dataclass(frozen=True, slots=True)
class Stopping:
    """Which epoch is the best one, and when there has been none for too long.

    Attributes:
        monitor: a column of metrics.csv.
        patience: epochs without a better one after which the run ends; None for never.
        min_delta: by how much more than this an epoch must be better.
    """

    monitor: str = "test_loss"
    patience: int | None = None
    min_delta: float = 0.0

    @classmethod
    def of(cls, training: Training) -> Self:
        """What the section says, or the defaults."""
        given = training.stopping
        return cls() if given is None else cls(given.monitor, given.patience, given.min_delta)

    def _values(self, history: list[Epoch]) -> list[float | None]:
        return [epoch.values()[self.monitor] for epoch in history]

    def best(self, history: list[Epoch]) -> int | None:
        """The number of the best epoch, from 1; the first of equal ones."""
        rising = stopping.rises(self.monitor)
        found = stopping.best(self._values(history), rising=rising)
        return None if found is None else found + 1

    def ends(self, history: list[Epoch]) -> bool:
        """Whether the run ends here."""
        return self.patience is not None and stopping.exhausted(
            self._values(history),
            patience=self.patience,
            rising=stopping.rises(self.monitor),
            min_delta=self.min_delta,
        )


class Run:
    """A run, from its beginning or from a checkpoint on.

    Everything random comes from counters (seed, epoch, update, sample), so a position, the weights
    and the optimizer's state are all there is to keep.

    Attributes:
        history: the metrics of the complete epochs.
        weights: after the last of them.
        confusion: the same, by output.
        stopping: what `best.safetensors` goes by, and when the run ends early.
    """

    def __init__(
        self,
        session: Session,
        updates: Updates,
        graph: Graph,
        data: Dataset,
        directory: RunDirectory | None,
        progress: Progress,
        begun: Checkpoint,
        *,
        checkpoint_every: int | None,
        stopping: Stopping,
        workers: int = 0,
        ranks: Ranks | None = None,
        fits: bool = False,
    ) -> None:
        assert graph.training is not None
        self.session, self.updates, self.graph, self.data = session, updates, graph, data
        self.training: Training = graph.training
        self.directory, self.progress, self.begun = directory, progress, begun
        self.checkpoint_every, self.stopping = checkpoint_every, stopping
        self.workers, self.ranks, self.fits = workers, ranks, fits
        self.per_update = self.training.batch * self.training.accumulate
        self.per_epoch = math.ceil(len(data.train) / self.per_update)
        self.history: list[Epoch] = []
        self.weights: Mapping[str, Array] = {}
        self.confusion: Mapping[str, Array] = {}
        self._update = 0
        self._loss_sum = 0.0
        self._kept: Checkpoint | None = None
        self._interrupt = Interrupt()

    # --- from where to where -----------------------------------------------------------------

    def go(self, found: Checkpoint | None) -> None:
        """Train to the end; the session has the weights and the state to begin with.

        Args:
            found: the checkpoint that these are from; None at the beginning.

        Raises:
            DataError: the loss is no longer finite.
            SetupError: the system refuses to write; the checkpoints before stay.
            Interrupted: the process was asked to end.
        """
        self.weights = dict(self.session.weights())
        try:
            with self._interrupt:
                self._begin(found)
                while len(self.history) < self.training.epochs and not self._stopped():
                    self._epoch()
            self._end()
        except Interrupted:
            self._log(f"interrupted; {self._position()}")
            self._draw()
            raise
        except UserError as error:
            with contextlib.suppress(SetupError):  # the disk may be what is at fault
                self._log(f"stopped: {error}")
            raise

    def _begin(self, found: Checkpoint | None) -> None:
        where = ", ".join(f"{k} {v}" for k, v in self.begun.surroundings.items())
        if found is None:
            self._log(f"begins: {where}")
            if self.directory is not None:
                self.directory.begin(self.history)
            self._keep(self._checkpoint())
            return
        self.history, self.confusion = list(found.history), found.confusion
        self._update, self._loss_sum = found.update, found.loss_sum
        self._kept = None if self.directory is not None else found
        self._log(f"resumed at {self._position()}: {where}")
        self.progress.remark(f"resumed at {self._position()}")
        if self.directory is not None:
            self.directory.begin(self.history)
            if self.history and not self._update:
                self._write_epoch(new=False)

    def _end(self) -> None:
        if self.directory is not None and not self.history:
            self.directory.weights(self.weights)
        best = self.stopping.best(self.history)
        if best is not None:
            name = self.stopping.monitor
            value = self.history[best - 1].values()[name]
            self._log(f"complete; epoch {best} has the best {name}, {value!r}")
        self._draw()

    def _stopped(self) -> bool:
        if not self.stopping.ends(self.history):
            return False
        text = (
            f"no better {self.stopping.monitor} for {self.stopping.patience} epochs; the run ends"
        )
        self._log(text)
        self.progress.remark(text)
        return True

    # --- an epoch ------------------------------------------------------------------------------

    def _epoch(self) -> None:
        number, count = len(self.history), len(self.data.train)
        self.progress.begin(number + 1, self.training.epochs, self.per_epoch, self._update)
        started, first = time.perf_counter(), self._update
        self._train(number)
        seconds = time.perf_counter() - started
        done = count - first * self.per_update
        loss = self._loss_sum / count
        with self._averaged():
            train = self._measured(self.data.train, "training")
            test = self._measured(self.data.test, "test")
            self.weights = dict(self.session.weights())
        rate = self.session.learning_rate((number + 1) * self.per_epoch - 1, self.per_epoch)
        epoch = measured(number + 1, loss, rate, train, test)
        confusion = {n: s.confusion for n, s in test.outputs.items() if s.confusion is not None}
        # From here on the epoch is complete: what is written of it is made of its checkpoint.
        self.history.append(epoch)
        self._update, self._loss_sum, self.confusion = 0, 0.0, confusion
        checkpoint = self._checkpoint()
        self._keep(checkpoint)
        self._write_epoch()
        speed = max(done, 0) / seconds
        self._log(line(epoch, self.training.epochs, speed))
        self.progress.end(epoch, self.training.epochs, speed)

    def _train(self, number: int) -> None:
        if self.fits and self.training.accumulate == 1 and self.ranks is None:
            self._fit(number)
        else:
            for group in self._groups(number, self._update):
                update = number * self.per_epoch + self._update
                if self.ranks is not None:
                    self.ranks.asks = self._interrupt.requested
                # A loss that overflows is reported below, with the place where it happened.
                with np.errstate(all="ignore"):
                    loss = self.updates.update(group, At(update), self.per_epoch)
                if not math.isfinite(loss):
                    raise self._diverged(f"the loss is {loss} in", self._update)
                self._updated(update, loss)
                self._leave_if_asked()
        self._require_finite()

    def _fit(self, number: int) -> None:
        """The same by the framework's own loop, see `FitsEpochs`."""
        fitting: Any = self.session
        wrong: list[float] = []

        def done(update: int, loss: float) -> bool:
            if math.isfinite(loss):
                self._updated(update, loss)
            else:
                wrong.append(loss)
            return bool(wrong) or self._asked()

        with np.errstate(all="ignore"):
            fitting.fit_epoch(
                (group[0] for group in self._groups(number, self._update)),
                first_update=number * self.per_epoch + self._update,
                updates_per_epoch=self.per_epoch,
                count=self.per_epoch - self._update,
                on_batch=done,
            )
        if wrong:
            raise self._diverged(f"the loss is {wrong[0]} in", self._update)
        self._leave_if_asked()

    def _updated(self, update: int, loss: float) -> None:
        """An update of the run, counted from 0, is done; `loss` was the one before it."""
        begun = self._update * self.per_update
        self._update += 1
        self._loss_sum += loss * min(self.per_update, len(self.data.train) - begun)
        self.progress.advance(loss)
        due = self.checkpoint_every and (update + 1) % self.checkpoint_every == 0
        # The one after the last update of an epoch has its metrics as well.
        if due and self._update < self.per_epoch:
            self._require_finite()
            self._keep(self._checkpoint())

    def _groups(self, epoch: int, start: int) -> Iterator[list[Batch]]:
        """The batches of each update of an epoch, as far as they are this process'."""
        every = self.training.accumulate
        found = batches(
            self.data.train,
            batch=self.training.batch,
            seed=self.graph.seed,
            epoch=epoch,
            start=start * every,
            workers=self.workers,
            rank=0 if self.ranks is None else self.ranks.rank,
            ranks=1 if self.ranks is None else self.ranks.count,
        )
        return grouped(found, every)

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """Inside, the session has the moving averages of its weights, if training keeps them."""
        if self.training.average is None:
            yield
            return
        weights = dict(self.session.weights())
        trained = dict(self.session.trained())
        self.session.assign({n: trained.get(f"average/{n}", v) for n, v in weights.items()})
        try:
            yield
        finally:
            self.session.assign(weights)

    def _require_finite(self) -> None:
        """Weights that are not are seen in the next loss only, and must not be kept until then."""
        if not nonfinite.finite(self.session.weights(copy=False)):
            raise self._diverged("the weights are not finite after", self._update - 1)

    def _measured(self, split: Samples, name: str) -> Score:
        with np.errstate(all="ignore"):
            score = evaluate(
                self.session,
                split,
                self.training,
                batch=self.training.batch,
                confusion=split is self.data.test,
                between=self._leave_if_asked if self.ranks is None else lambda: None,
                ranks=self.ranks,
            )
        if not math.isfinite(score.loss):
            raise self._diverged_in(split, score, name)
        return score

    # --- what is kept -------------------------------------------------------------------------

    def _checkpoint(self) -> Checkpoint:
        return dataclasses.replace(
            self.begun,
            epoch=len(self.history),
            update=self._update,
            loss_sum=self._loss_sum,
            history=tuple(self.history),
            weights=dict(self.session.weights()),
            state=self.session.state(),
            confusion=self.confusion,
        )

    def _keep(self, checkpoint: Checkpoint) -> None:
        if self.directory is None:
            self._kept = checkpoint
        else:
            self.directory.checkpoints.save(checkpoint)

    def _write_epoch(self, *, new: bool = True) -> None:
        if self.directory is not None:
            best = self.stopping.best(self.history) == len(self.history)
            self.directory.epoch(self.history, self.weights, self.confusion, best=best, new=new)

    def _leave_if_asked(self) -> None:
        if self._asked():
            if self.directory is not None:
                self._require_finite()
                self._keep(self._checkpoint())
            raise Interrupted(self._position())

    def _asked(self) -> bool:
        """Whether the run shall end here; several processes agree on where."""
        return self._interrupt.requested if self.ranks is None else self.ranks.ends

    def _position(self) -> str:
        """Where the run stands, for people."""
        epochs, done = self.training.epochs, len(self.history)
        if done >= epochs:
            return f"the end of epoch {done}, the last"
        if not self._update:
            return f"the beginning of epoch {done + 1} of {epochs}"
        return f"epoch {done + 1} of {epochs}, after update {self._update} of {self.per_epoch}"

    def _draw(self) -> None:
        if self.directory is not None:
            self.directory.draw(self.history)

    def _log(self, text: str) -> None:
        if self.directory is not None:
            self.directory.log(text)

    # --- divergence ----------------------------------------------------------------------------

    def _diverged(self, symptom: str, wrong: int) -> UserError:
        """What to raise; the updates since the last checkpoint are made once more to find out.

        Args:
            symptom: what was seen.
            wrong: the update of the epoch, from 0, in which or after which it was.
        """
        number = len(self.history)
        what = f"{symptom} epoch {number + 1}, update {wrong + 1} of {self.per_epoch}"
        loaded = None if self.directory is None else self.directory.checkpoints.load()
        good = self._kept if loaded is None else loaded[0]
        place = Place("")
        alone = self.ranks is None
        if alone and good is not None and good.epoch == number and good.update <= wrong:
            self.progress.remark(f"{what}; looking for the layer where it began")
            again = self._groups(number, good.update)
            place = nonfinite.in_update(
                self.session,
                self.updates,
                self.graph,
                good,
                islice(again, wrong - good.update + 1),
                self.per_epoch,
                self._leave_silently_if_asked,
            )
        return nonfinite.fault(what, place, self._what_is_kept(good))

    def _diverged_in(self, split: Samples, score: Score, name: str) -> UserError:
        what = f"the loss is {score.loss} after epoch {len(self.history) + 1}, over the {name} set"
        place, batch = Place(""), self.training.batch
        for start in range(0, len(split), batch):
            inputs, targets = split.take(np.arange(start, min(start + batch, len(split))))
            with np.errstate(all="ignore"):
                found = self.session.evaluate(inputs, targets)
            if not all(math.isfinite(total) for total, _ in found.losses.values()):
                place = nonfinite.in_evaluation(self.session, self.graph, inputs, targets)
                break
        good = self._kept
        if self.directory is not None:
            loaded = self.directory.checkpoints.load()
            good = None if loaded is None else loaded[0]
        return nonfinite.fault(what, place, self._what_is_kept(good))

    def _leave_silently_if_asked(self) -> None:
        if self._interrupt.requested:
            raise KeyboardInterrupt

    def _what_is_kept(self, good: Checkpoint | None) -> str:
        if self.directory is None or good is None:
            return "no run directory was given, so that no weights are kept"
        return (
            f"`{self.directory.path}` keeps the weights of {good.epoch} complete epochs, and a "
            f"checkpoint after update {good.update} of the next one"
        )
