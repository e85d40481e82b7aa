"""The page: a tab for each thing that there is a model for; needs the extra `demo` (Gradio)."""

import functools
import pathlib
from dataclasses import dataclass, field

import gradio as gr

from mmlearn.demo import results
from mmlearn.demo.captioning import write_caption
from mmlearn.demo.photos import read_photo
from mmlearn.demo.predicting import MAX_CHARACTERS, answer_question, predict_example

_FOLDER = pathlib.Path(__file__).parent
_USED = {"images": "image", "text": "text"}  # as they are called on the page
_ONE_AT_A_TIME = {"concurrency_limit": 1, "concurrency_id": "models", "show_progress": "minimal"}


@dataclass(frozen=True)
class Models:
    """What the page is of. Each may be `None`.

    Attributes:
        predictor: `PredictionTask`, see `mmlearn.demo.predicting.open_predictor`.
        searcher: `mmlearn.demo.searching.Searcher`.
        answerer: `VisualQuestionAnswerer`.
        captioner: `ImageCaptioner`, see `mmlearn.demo.captioning.open_captioner`.
        examples: dict of `"predictor"`, `"answerer"` and `"captioner"` to lists of `(path, text)`.
    """

    predictor: object = None
    searcher: object = None
    answerer: object = None
    captioner: object = None
    examples: dict = field(default_factory=dict)


def make_page(models):
    """Lays the page out.

    Args:
        models: `Models`.

    Returns:
        `gradio.Blocks`, without telemetry.

    Raises:
        ValueError: when there is no model.
    """
    tabs = {
        "Predict": (models.predictor, _predict_tab, "predictor"),
        "Search": (models.searcher, _search_tab, "searcher"),
        "Ask": (models.answerer, _ask_tab, "answerer"),
        "Caption": (models.captioner, _caption_tab, "captioner"),
    }
    tabs = {title: each for title, each in tabs.items() if each[0] is not None}
    if not tabs:
        raise ValueError(
            "There is no model to show. Fix: pass one, such as saved_models/shapes, or --retriever, "
            "--answerer or --captioner with one."
        )
    with gr.Blocks(title="mmlearn demo", analytics_enabled=False) as page:
        gr.HTML("<h1>mmlearn demo</h1>", elem_classes="mm-head")
        with gr.Tabs():
            for title, (model, lay_out, name) in tabs.items():
                with gr.Tab(title):
                    lay_out(model, models.examples.get(name, []))
    return page


def looks():
    """What `gradio.mount_gradio_app` takes of the looks: no font that would have to be fetched."""
    fonts = ["system-ui", "sans-serif"]
    theme = gr.themes.Default(primary_hue="blue", font=fonts, font_mono=["monospace"])
    theme.set(  # what Gradio has of contrast is not enough to read by
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        block_info_text_color="*neutral_600",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
    )
    return {"theme": theme, "css": (_FOLDER / "page.css").read_text("utf-8")}


def _predict_tab(task, examples):
    modalities = [m for m in _USED if m in task.backbone.modalities]
    wanted = " or ".join({"images": "an image", "text": "a text"}[m] for m in modalities)
    hint = f"Give {wanted}: the prediction comes here."
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            photo = _photo_input("Image", visible="images" in modalities)
            text = _text_input("Text", "A text that goes with the image", "text" in modalities)
            used = gr.CheckboxGroup(
                [(_USED[m], m) for m in modalities],
                value=modalities,
                label="Used for the prediction",
                info="Leave one out, and see how the answer changes.",
                visible=len(modalities) > 1,
            )
            button = gr.Button("Predict", variant="primary")
        with gr.Column(scale=2, min_width=320):
            result = _result(hint)

    @_in_words
    def predict(path, text, used):
        if not path and not (text or "").strip():
            return results.hint_html(hint)
        photo = read_photo(path) if path else None
        prediction = predict_example(task, photo, text, set(modalities) - set(used))
        return results.prediction_html(prediction, photo if "images" in used else None)

    inputs = [photo, text, used]
    triggers = [photo.input, text.submit, used.change, button.click]
    _connect(predict, inputs, result, triggers, examples, modalities)


def _search_tab(searcher, _examples):
    hint = f"Type a text, or give an image: what is nearest among {len(searcher):,} comes here."
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            text = _text_input("Text", "What to look for")
            photo = _photo_input("Or an image")
            top = gr.Slider(1, 48, value=12, step=1, label="How many")
            button = gr.Button("Search", variant="primary")
        with gr.Column(scale=2, min_width=320):
            result = _result(hint)

    @_in_words
    def search(text, path, top):
        photo = read_photo(path) if path else None
        return results.found_html(searcher.find(text, photo, int(top)))

    triggers = [text.submit, photo.upload, button.click]
    _connect(search, [text, photo, top], result, triggers)


def _ask_tab(task, examples):
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            photo = _photo_input("Image")
            question = _text_input("Question", "A question about the image")
            button = gr.Button("Ask", variant="primary")
        with gr.Column(scale=2, min_width=320):
            result = _result("Give an image and ask about it: the answer comes here.")

    @_in_words
    def ask(path, question):
        photo = read_photo(path) if path else None
        return results.answer_html(*answer_question(task, photo, question), photo)

    _connect(ask, [photo, question], result, [question.submit, button.click], examples)


def _caption_tab(task, examples):
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            photo = _photo_input("Image")
            beginning = _text_input("Beginning (optional)", "How the caption begins")
            button = gr.Button("Describe", variant="primary")
        with gr.Column(scale=2, min_width=320):
            result = _result("Give an image: a caption of it comes here.")

    @_in_words
    def describe(path, beginning):
        photo = read_photo(path) if path else None
        return results.caption_html(write_caption(task, photo, beginning), photo)

    triggers = [photo.upload, beginning.submit, button.click]
    # Of the images alone: their captions are what is to be written.
    _connect(describe, [photo, beginning], result, triggers, examples, ("images",))


def _connect(act, inputs, result, triggers, examples=(), modalities=("images", "text")):
    """Lets events, and picked examples, run a function of the inputs, the first being image and text."""
    # "always_last": what is sent while an answer is being made is answered next; by default it is dropped.
    options = {"api_visibility": "private", **_ONE_AT_A_TIME}
    gr.on(triggers, act, inputs, result, trigger_mode="always_last", **options)
    columns = [column for column, m in enumerate(("images", "text")) if m in modalities]
    if not examples:
        return
    shown = gr.Examples(
        [[example[column] for column in columns] for example in examples],
        [inputs[column] for column in columns],
        label="Examples of the validation split",
        api_visibility="private",
    )
    shown.load_input_event.then(act, inputs, result, **options)


def _photo_input(label, visible=True):
    photo = gr.Image(
        label=label,
        type="filepath",
        sources=["upload", "clipboard"],
        buttons=[],
        height=260,
        visible=visible,
    )
    # Gradio would open the file, and say in its own words what is wrong with it; `read_photo` does.
    photo.preprocess = lambda sent: sent and sent.path
    return photo


def _text_input(label, placeholder, visible=True):
    return gr.Textbox(
        label=label,
        placeholder=placeholder,
        lines=1,
        max_lines=5,
        max_length=MAX_CHARACTERS,
        visible=visible,
    )


def _result(hint):
    return gr.HTML(
        results.hint_html(hint),
        js_on_load=(_FOLDER / "picture.js").read_text("utf-8"),
        apply_default_css=False,
    )


def _in_words(function):
    """What a person did wrong becomes one line on the page."""

    @functools.wraps(function)
    def answer(*args):
        try:
            return function(*args)
        except ValueError as error:
            return results.problem_html(error)

    return answer
