"""Which version of each operator the Edge TPU compiler 16.0 can read.

The compiler holds the TensorFlow Lite interpreter of its time. Every public log of a model that it could not parse
agrees with the operators of TensorFlow 2.5: EXP 2, CONV_2D 6, TRANSPOSE_CONV 4 and QUANTIZE 3 are refused
(google-coral/edgetpu issues 631, 845, 879; google-coral/libedgetpu issue 71). TensorFlow 2.6 would explain them as
well; the lower of the two is kept. ``make check-parse-stage`` compares the table with the interpreter of TensorFlow
2.5.3.
"""

from __future__ import annotations

from typing import Optional

from training.compile.graph import EDGETPU_OPERATOR, Operator

# Operator → highest version that the interpreter of TensorFlow 2.5.3 resolves, measured with models of one operator.
MAX_VERSION: dict[str, int] = {
    "ABS": 3, "ADD": 3, "ADD_N": 1, "ARG_MAX": 2, "ARG_MIN": 2, "AVERAGE_POOL_2D": 3, "BATCH_MATMUL": 4,
    "BATCH_TO_SPACE_ND": 3, "BIDIRECTIONAL_SEQUENCE_LSTM": 3, "BIDIRECTIONAL_SEQUENCE_RNN": 3, "BROADCAST_TO": 3,
    "CALL_ONCE": 1, "CAST": 1, "CEIL": 1, "COMPLEX_ABS": 1, "CONCATENATION": 3, "CONV_2D": 5, "CONV_3D": 1, "COS":
    1, "CUMSUM": 1, "DENSIFY": 1, "DEPTHWISE_CONV_2D": 6, "DEPTH_TO_SPACE": 2, "DEQUANTIZE": 4, "DIV": 2, "ELU": 1,
    "EMBEDDING_LOOKUP": 3, "EMBEDDING_LOOKUP_SPARSE": 1, "EQUAL": 3, "EXP": 1, "EXPAND_DIMS": 1, "FAKE_QUANT": 2,
    "FILL": 3, "FLOOR": 1, "FLOOR_DIV": 2, "FLOOR_MOD": 1, "FULLY_CONNECTED": 9, "GATHER": 5, "GATHER_ND": 3,
    "GREATER": 2, "GREATER_EQUAL": 2, "HARD_SWISH": 1, "HASHTABLE": 1, "HASHTABLE_FIND": 1, "HASHTABLE_IMPORT": 1,
    "HASHTABLE_LOOKUP": 1, "HASHTABLE_SIZE": 1, "IF": 1, "IMAG": 1, "L2_NORMALIZATION": 2, "L2_POOL_2D": 1,
    "LEAKY_RELU": 2, "LESS": 2, "LESS_EQUAL": 2, "LOCAL_RESPONSE_NORMALIZATION": 1, "LOG": 1, "LOGICAL_AND": 1,
    "LOGICAL_NOT": 1, "LOGICAL_OR": 1, "LOGISTIC": 3, "LOG_SOFTMAX": 2, "LSH_PROJECTION": 1, "LSTM": 4,
    "MATRIX_DIAG": 1, "MATRIX_SET_DIAG": 1, "MAXIMUM": 4, "MAX_POOL_2D": 3, "MEAN": 3, "MINIMUM": 4, "MIRROR_PAD":
    2, "MUL": 4, "NEG": 1, "NON_MAX_SUPPRESSION_V4": 1, "NON_MAX_SUPPRESSION_V5": 1, "NOT_EQUAL": 3, "ONE_HOT": 1,
    "PACK": 3, "PAD": 3, "PADV2": 3, "POW": 1, "PRELU": 1, "QUANTIZE": 2, "RANGE": 1, "RANK": 1, "REAL": 1,
    "REDUCE_ANY": 1, "REDUCE_MAX": 3, "REDUCE_MIN": 3, "REDUCE_PROD": 1, "RELU": 3, "RELU6": 3, "RELU_N1_TO_1": 1,
    "RESHAPE": 1, "RESIZE_BILINEAR": 4, "RESIZE_NEAREST_NEIGHBOR": 4, "REVERSE_SEQUENCE": 1, "REVERSE_V2": 3,
    "RFFT2D": 1, "RNN": 3, "ROUND": 1, "RSQRT": 2, "SCATTER_ND": 1, "SEGMENT_SUM": 1, "SELECT": 2, "SELECT_V2": 1,
    "SHAPE": 1, "SIN": 1, "SKIP_GRAM": 1, "SLICE": 5, "SOFTMAX": 3, "SPACE_TO_BATCH_ND": 3, "SPACE_TO_DEPTH": 2,
    "SPARSE_TO_DENSE": 3, "SPLIT": 4, "SPLIT_V": 2, "SQRT": 1, "SQUARE": 1, "SQUARED_DIFFERENCE": 2, "SQUEEZE": 2,
    "STRIDED_SLICE": 5, "SUB": 5, "SUM": 2, "SVDF": 4, "TANH": 3, "TILE": 2, "TOPK_V2": 2, "TRANSPOSE": 5,
    "TRANSPOSE_CONV": 3, "UNIDIRECTIONAL_SEQUENCE_LSTM": 3, "UNIDIRECTIONAL_SEQUENCE_RNN": 3, "UNIQUE": 1, "UNPACK":
    4, "WHERE": 1, "WHILE": 1, "ZEROS_LIKE": 1,
}  # fmt: skip

# HASHTABLE_SIZE, the last builtin operator of TensorFlow 2.5; larger numbers are not looked up at all.
_LAST_OPERATOR = 139

# Custom operators that the compiler's interpreter resolves. PosenetDecoderOp: a compiled model with it is public.
_CUSTOM_OPERATORS = ("TFLite_Detection_PostProcess", "PosenetDecoderOp", EDGETPU_OPERATOR)


def parse_failure(operator: Operator) -> Optional[str]:
    """Return the compiler's own line for an operator that it cannot read, or None."""
    if operator.code > _LAST_OPERATOR:
        return f"Op builtin_code out of range: {operator.code}. Are you using old TFLite binary with newer model?"
    if operator.name == "CUSTOM":
        known = operator.custom_name in _CUSTOM_OPERATORS
        return None if known else f"Encountered unresolved custom op: {operator.custom_name}."
    if operator.version > MAX_VERSION.get(operator.name, 0):
        return (
            f"Didn't find op for builtin opcode '{operator.name}' version '{operator.version}'. An older version of "
            "this builtin might be supported. Are you using an old TFLite binary with a newer model?"
        )
    return None
