"""The types of arrays, named by what their numbers are; docstrings say their shapes."""

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
AnyFloatArray = NDArray[np.floating]
