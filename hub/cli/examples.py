"""What a person types next, by task: the lines that `hub show` ends with."""

import json

_SAVE = 'module.save("my_module")  # hub.Module("./my_module") loads it again'
_LABELLED = f"""\
module.finetune("{{data}}", epochs=5)  # {{layout}}
print(module.run.metrics["accuracy"])
for result in module.predict({{new}}):
    print(result["input"], result.get("label"), result.get("score"))
{_SAVE}"""
_PAINTED = f"""\
module.finetune("my_pictures/", {{options}}epochs=5)  # {{data}}
[result] = module.predict("new.png")
module.draw("new.png", result).save("painted.png")
{_SAVE}"""
_OF_TEXT = 'print(module.predict(["a text"]))'
_OF_TWO_TEXTS = 'print(module.predict([("a text", "another one")]))'

LINES = {
    "image_classification": _LABELLED.format(
        data="my_pictures/", layout="a folder for each class", new='"new_pictures/"'
    ),
    "audio_classification": _LABELLED.format(
        data="my_sounds/", layout="a folder for each class", new='"new_sounds/"'
    ),
    "text_classification": _LABELLED.format(
        data="my_texts.csv", layout="columns text and label", new='["a text", "another one"]'
    ),
    "semantic_segmentation": f"""\
module.finetune("my_scenes/", epochs=5)  # images/ with pictures, masks/ with a mask for each
print(module.run.metrics["miou"])
[result] = module.predict("new.png")
module.draw("new.png", result).save("answer.png")
{_SAVE}""",
    "colorization": _PAINTED.format(options="", data="any pictures in colour"),
    "style_transfer": _PAINTED.format(
        options='style="my_style.png", ', data="any pictures, and one in the style"
    ),
    "sequence_labeling": _OF_TEXT,
    "text_regression": _OF_TEXT,
    "text_matching": _OF_TWO_TEXTS,
    "siamese_matching": _OF_TWO_TEXTS,
    "text_similarity": _OF_TWO_TEXTS,
    "multi_task_image_classification": 'print(module.predict("new.png"))',
    "multi_task_audio_classification": 'print(module.predict("new.wav"))',
    "multi_task_text_classification": _OF_TEXT,
}


def example(task: str, name: str) -> str:
    """Give lines of Python for the module of this task by its name or path; "" for a task that is not known here."""
    if task not in LINES:
        return ""
    quoted = json.dumps(name, ensure_ascii=False)  # in double quotes, as the lines below
    return f"import hub\n\nmodule = hub.Module({quoted})\n{LINES[task]}"
