"""The types of arrays: the name says what the numbers are; shapes stand in the docstrings of those who use them."""

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
AnyFloatArray = NDArray[np.floating]
