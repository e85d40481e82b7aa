"""Tasks, backbone and preprocessor: the objects that users build, train, save and serve.

Importing this package imports every encoder and fusion, so that saved models can be loaded.
"""

from mmlearn.models.head import Head
from mmlearn.models.image_captioner import ImageCaptioner
from mmlearn.models.image_text_retriever import ImageTextRetriever
from mmlearn.models.multimodal_backbone import MultimodalBackbone
from mmlearn.models.multimodal_classifier import MultimodalClassifier
from mmlearn.models.multimodal_multi_task import MultimodalMultiTask
from mmlearn.models.multimodal_preprocessor import MultimodalPreprocessor
from mmlearn.models.multimodal_regressor import MultimodalRegressor
from mmlearn.models.visual_question_answerer import VisualQuestionAnswerer

__all__ = [
    "Head",
    "ImageCaptioner",
    "ImageTextRetriever",
    "MultimodalBackbone",
    "MultimodalClassifier",
    "MultimodalMultiTask",
    "MultimodalPreprocessor",
    "MultimodalRegressor",
    "VisualQuestionAnswerer",
]
