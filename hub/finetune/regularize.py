"""What keeps a network from forgetting or overfitting: averaged weights, a pull to where it began, a teacher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from hub.errors import WeightsError

_UPDATES = "number of updates"  # with spaces, which no name of a weight has


class WeightAverage:
    """An exponential moving average of a model's parameters and float buffers, such as moving statistics.

    After update t (from 0) it is d * average + (1 - d) * weights with d = min(decay, (1 + t) / (10 + t)), so that the
    weights of the start are soon forgotten (as in Mean Teacher, Tarvainen & Valpola 2017,
    https://arxiv.org/abs/1703.01780, with the warm-up of TensorFlow's ExponentialMovingAverage). What is not trained
    stays bit for bit what it is.
    """

    def __init__(self, model: nn.Layer, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self._shapes = {name: list(tensor.shape) for name, tensor in _floats(model).items()}
        # kept flat: lerp_ is several times slower in four dimensions
        self._average = {name: tensor.detach().flatten().clone() for name, tensor in _floats(model).items()}

    def update(self, model: nn.Layer) -> None:
        """Take in the weights after a step."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        with paddle.no_grad():
            for name, tensor in _floats(model).items():
                # average + (1 - decay) * (weights - average): equal weights stay equal to the last bit
                self._average[name].lerp_(tensor.flatten(), 1.0 - decay)

    @contextmanager
    def swapped(self, model: nn.Layer) -> Iterator[None]:
        """Give the model the averaged weights for the time of a `with`; then it has its own again, bit for bit."""
        live = _floats(model)
        own = {name: tensor.detach().clone() for name, tensor in live.items()}
        try:
            for name, tensor in live.items():
                tensor.set_value(self._average[name].reshape(self._shapes[name]))
            yield
        finally:
            for name, tensor in live.items():
                tensor.set_value(own[name])

    def state(self) -> dict[str, np.ndarray]:
        """Give everything there is to know as copies of arrays, for a checkpoint."""
        arrays = {
            name: np.array(tensor.numpy()).reshape(self._shapes[name])
            for name, tensor in self._average.items()
        }
        return {**arrays, _UPDATES: np.array([self.updates], np.int64)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what `state` gave. Raises WeightsError when it is of another model; nothing is changed then."""
        wanted = {_UPDATES: [1], **self._shapes}
        found = {name: list(array.shape) for name, array in state.items()}
        if wrong := sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name)):
            name = wrong[0]
            raise WeightsError(
                f"averaged weights: {len(wrong)} of {len(wanted)} do not fit, such as {name!r}: expected shape "
                f"{wanted.get(name)}, found {found.get(name)}",
                hint="go on with the network that the run began with",
            )
        for name, tensor in self._average.items():
            tensor.set_value(np.array(state[name]).reshape(-1))
        self.updates = int(state[_UPDATES][0])


def _floats(model: nn.Layer) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}


class Anchor:
    """The pull of a model's trained parameters to where they were when this was made: `anchor_penalty`."""

    def __init__(self, model: nn.Layer, strength: float) -> None:
        self.model, self.strength = model, strength
        self._start = {
            name: each.detach().clone() for name, each in model.named_parameters() if each.trainable
        }

    def __call__(self) -> Tensor:
        return anchor_penalty(self.model, self._start, self.strength)

    def state(self) -> dict[str, np.ndarray]:
        """Give where it pulls to as copies of arrays, for a checkpoint."""
        return {name: np.array(tensor.numpy()) for name, tensor in self._start.items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Pull to where another one did, whose `state` this is."""
        for name, tensor in self._start.items():
            tensor.set_value(np.array(state[name]))


def anchor_penalty(model: nn.Layer, start: Mapping[str, Tensor], strength: float) -> Tensor:
    """Give strength / 2 times the squared distance of the trained parameters from where they began, a scalar.

    L2-SP (Li et al. 2018, https://arxiv.org/abs/1802.01483). `start` has the pretrained weights by name; parameters
    that are frozen or not in it do not count.
    """
    total = paddle.zeros([])
    for name, parameter in model.named_parameters():
        if parameter.trainable and name in start:
            total = total + (parameter - start[name]).square().sum()
    return total * (strength / 2)


def distillation_loss(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float, multi_label: bool = False
) -> Tensor:
    """Give how far a student's answers [N, L] are from its teacher's, a mean over the batch; 0 when they are equal.

    T² times the Kullback-Leibler divergence between the softmax of both at temperature T (Hinton et al. 2015,
    https://arxiv.org/abs/1503.02531: the gradient is that of their cross-entropy, and T² keeps its size whatever
    T). With `multi_label`, each label is a yes or no of its own, and the mean is over samples and labels. The teacher
    gets no gradient.
    """
    student, teacher = student_logits / temperature, teacher_logits.detach() / temperature
    if multi_label:
        yes = F.log_sigmoid(teacher) - F.log_sigmoid(student)
        no = F.log_sigmoid(-teacher) - F.log_sigmoid(-student)
        each = F.sigmoid(teacher) * yes + F.sigmoid(-teacher) * no
    else:
        log_teacher = F.log_softmax(teacher, axis=1)
        each = (paddle.exp(log_teacher) * (log_teacher - F.log_softmax(student, axis=1))).sum(axis=1)
    return each.mean() * temperature**2
