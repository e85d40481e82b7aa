"""A page in the browser that shows what saved models do; needs the extra `demo` (Gradio)."""
