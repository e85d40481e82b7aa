"""`python -m mmlearn demo MODEL [--retriever RUN] [--answerer RUN] [--captioner RUN]`."""

import contextlib
import os
import signal
import tempfile
from dataclasses import dataclass

import tyro
from rich.console import Console

from data_prep.quiet import quiet_start
from mmlearn.cli.index import import_indexing


@dataclass(frozen=True)
class Demo:
    """Shows saved models on a page in the browser, from this machine alone, until Ctrl+C."""

    model: tyro.conf.Positional[str | None] = None
    """Output folder of a run that predicts labels, such as saved_models/shapes, or a preset directory."""
    retriever: str | None = None
    """Of a run that retrieves, such as saved_models/shapes_retrieval, with an index: a search tab."""
    index: str | None = None
    """Folder of the index. By default RETRIEVER-index-images."""
    answerer: str | None = None
    """Of a run that answers questions, such as saved_models/shapes_vqa: a tab to ask."""
    captioner: str | None = None
    """Of a run that writes captions, such as saved_models/shapes_captions: a tab with them."""
    host: str = "127.0.0.1"
    """Address to serve at; 0.0.0.0 lets other machines in."""
    port: int = 7860
    """Port to serve at; 0 for any that is free."""


def run(args):
    """Opens the models and serves the page."""
    options = tyro.cli(Demo, prog="python -m mmlearn demo", args=args)
    if options.index is not None and options.retriever is None:
        raise ValueError("--index is searched by a retriever. Fix: pass --retriever RUN as well.")
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory() as uploads:
        # Before Gradio is imported. What people send is gone when the page is.
        os.environ.update(GRADIO_TEMP_DIR=uploads, GRADIO_ANALYTICS_ENABLED="False")
        server = _import_server()
        with server.listen(options.host, options.port) as listener:
            console = Console()
            models = _open(options, console)
            app = server.make_app(models)
            host = f"[{options.host}]" if ":" in options.host else options.host
            url = f"http://{host}:{listener.getsockname()[1]}"
            print(f"The page is at {url} (Ctrl+C ends it)", flush=True)
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl+C does
            server.serve(app, listener)
    print("Stopped.", flush=True)


def _import_server():
    try:
        with quiet_start():
            from mmlearn.demo import server
    except ImportError as error:
        raise ValueError(
            f"`demo` needs a package that is not installed ({error}). Fix: pip install "
            "'mmlearn-keras[demo]'."
        ) from None
    return server


def _open(options, console):
    """Loads the models, and lets each run once."""
    from mmlearn.analysis.class_scores import check_gradients
    from mmlearn.demo import captioning, page, predicting, warm_up
    from mmlearn.demo.examples import validation_examples
    from mmlearn.models import VisualQuestionAnswerer
    from mmlearn.models.presets import find_preset

    check_gradients("The page")
    runs = {"predictor": options.model, "answerer": options.answerer}
    runs["captioner"] = options.captioner
    opened, examples = {}, {}
    if options.model is not None:
        opened["predictor"] = predicting.open_predictor(options.model)
    if options.retriever is not None:
        indexing = import_indexing("demo")
        from mmlearn.demo.searching import Searcher

        folder = options.index or indexing.default_folder(options.retriever)
        opened["searcher"] = Searcher(options.retriever, folder)
    if options.answerer is not None:
        preset = find_preset(options.answerer, VisualQuestionAnswerer)
        opened["answerer"] = VisualQuestionAnswerer.from_preset(preset)
    if options.captioner is not None:
        opened["captioner"] = captioning.open_captioner(options.captioner)
    for name, run_folder in runs.items():
        if run_folder is not None:
            try:
                examples[name] = validation_examples(run_folder)
            except (ValueError, OSError) as error:  # the page is as good without them
                console.print(
                    f"No examples of {run_folder}: {error}", highlight=False, markup=False
                )
    models = page.Models(**opened, examples=examples)
    warm_up.warm_up(models)
    return models
