"""What a person types next, by task: the lines that `hub show` ends with."""

_LABELLED = """\
import hub

module = hub.Module("{{name}}")
module.finetune("{data}", epochs=5)  # {layout}
print(module.run.metrics["accuracy"])
for result in module.predict({new}):
    print(result["input"], result.get("label"), result.get("score"))
module.save("my_module")  # hub.Module("./my_module") loads it again"""

_ASKED = """\
import hub

module = hub.Module("{{name}}")
print(module.predict({new}))"""

EXAMPLES = {
    "image_classification": _LABELLED.format(
        data="my_pictures/", layout="a folder for each class", new='"new_pictures/"'
    ),
    "audio_classification": _LABELLED.format(
        data="my_sounds/", layout="a folder for each class", new='"new_sounds/"'
    ),
    "text_classification": _LABELLED.format(
        data="my_texts.csv", layout="columns text and label", new='["a text", "another one"]'
    ),
    "semantic_segmentation": """\
import hub

module = hub.Module("{name}")
module.finetune("my_scenes/", epochs=5)  # images/ with pictures, masks/ with a mask for each
print(module.run.metrics["miou"])
[result] = module.predict("new.png")
module.draw("new.png", result).save("answer.png")
module.save("my_module")  # hub.Module("./my_module") loads it again""",
    "colorization": """\
import hub

module = hub.Module("{name}")
module.finetune("my_pictures/", epochs=5)  # any pictures in colour
[result] = module.predict("grey.png")
module.draw("grey.png", result).save("coloured.png")
module.save("my_module")  # hub.Module("./my_module") loads it again""",
    "style_transfer": """\
import hub

module = hub.Module("{name}")
module.finetune("my_pictures/", style="my_style.png", epochs=5)  # any pictures, and one in the style
[result] = module.predict("new.png")
module.draw("new.png", result).save("painted.png")
module.save("my_module")  # hub.Module("./my_module") loads it again""",
    **dict.fromkeys(("sequence_labeling", "text_regression"), _ASKED.format(new='["a text"]')),
    **dict.fromkeys(
        ("text_matching", "siamese_matching", "text_similarity"),
        _ASKED.format(new='[("a text", "another one")]'),
    ),
    "multi_task_image_classification": _ASKED.format(new='"new.png"'),
    "multi_task_audio_classification": _ASKED.format(new='"new.wav"'),
    "multi_task_text_classification": _ASKED.format(new='["a text"]'),
}


def example(task: str, name: str) -> str:
    """Give lines of Python for a module of this task; "" for a task that is not known here."""
    return EXAMPLES.get(task, "").replace("{name}", name)
