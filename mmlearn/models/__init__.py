"""Tasks, backbone and preprocessor: the objects that users build, train, save and serve.

Importing this package imports every encoder and fusion, so that saved models can be loaded.
"""

from mmlearn.models.multimodal_backbone import MultimodalBackbone
from mmlearn.models.multimodal_classifier import MultimodalClassifier
from mmlearn.models.multimodal_preprocessor import MultimodalPreprocessor

__all__ = ["MultimodalBackbone", "MultimodalClassifier", "MultimodalPreprocessor"]
