"""Early fusion, as the report defines it: raw data are merged before the first hidden layer.

python -m mmlearn train early

Patches of the images and words are only embedded, to be tokens of one size; then one shallow network
has both. `unified` is the same with a deep one.
"""

from mmlearn.experiments.unified import UNIFIED, with_layers

EARLY = with_layers(UNIFIED, "early", num_layers=2)
