"""`make demo`: a module pretrained on rendered letters learns to read real handwritten digits.

The digits are the 1,797 that ship with scikit-learn (8×8 pixels, written by 43 people, UCI 1998). They are
written to a folder of PNGs first, one folder per digit, because that is how people have their pictures.
"""

from __future__ import annotations

import time
from pathlib import Path

from PIL import Image

import hub
from hub.datasets.digits import export_digits

FOLDER = Path("demo")
TRAIN_EACH = 20  # pictures of each digit to learn from; the rest are for testing


def contact_sheet(module: hub.Module, paths: list[Path], target: Path) -> None:
    """Draw the answers for some pictures into one."""
    cards = [module.draw(path, result) for path, result in zip(paths, module.predict(paths), strict=True)]
    width, height = cards[0].size
    sheet = Image.new("RGB", (width * 5, height * 2), "white")
    for place, card in enumerate(cards):
        sheet.paste(card, (place % 5 * width, place // 5 * height))
    sheet.save(target)


def main() -> None:
    started = time.perf_counter()
    data = export_digits(FOLDER / "digits", train_each=TRAIN_EACH)

    module = hub.Module("glyphs_cnn")
    print(
        f"{module}\nIt has seen letters of many scripts, and no digit. Now it gets {TRAIN_EACH} of each digit.\n"
    )
    module.finetune(data / "train", output_dir=FOLDER / "run")
    folder = module.save(FOLDER / "my_digits")

    metrics = module.evaluate(data / "test")
    pictures = [sorted((data / "test" / str(digit)).glob("*.png"))[0] for digit in range(10)]
    contact_sheet(module, pictures, FOLDER / "answers.png")
    print(f"\naccuracy on {metrics['count']} digits that it has never seen: {metrics['accuracy']:.1%}")
    print(f"ten of them with its answers:   {FOLDER / 'answers.png'}")
    print(f"how the training went:          {FOLDER / 'run' / 'history.svg'}")
    print(f"the module, ready to use:       {folder.relative_to(Path.cwd())}")
    print(f"try it on a file of your own:   .venv/bin/hub run ./{FOLDER / 'my_digits'} {pictures[3]}")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
