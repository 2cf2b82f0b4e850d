"""The ops of ONNX that cnnspec has no layer for, by kind."""

from __future__ import annotations

KINDS = {
    "elementwise arithmetic that is no layer": """
        Abs Acos Acosh Asin Asinh Atan Atanh Ceil Cos Cosh Div Erf Exp Floor Log Mod Pow Reciprocal
        Round Sign Sin Sinh Sqrt Tan""",
    "an activation that is no layer": "Hardmax Shrink ThresholdedRelu",
    "a norm that is no layer": "LpNormalization MeanVarianceNormalization RMSNormalization",
    "a reduction that is no layer": """
        ArgMax ArgMin CumProd CumSum ReduceLogSum ReduceLogSumExp ReduceProd ReduceSumSquare""",
    "attention and its parts": "Attention FlexAttention LinearAttention RotaryEmbedding",
    "recurrence": "GRU LSTM RNN",
    "products of two inputs, neither of them weights": "Einsum",
    "matrices": "Det EyeLike Trilu",
    "sampling at positions that are data": """
        AffineGrid Col2Im DeformConv GridSample MaxUnpool RoiAlign""",
    "elements chosen or placed by data": """
        ArrayFeatureExtractor Compress Gather GatherElements GatherND NonMaxSuppression NonZero
        OneHot ReverseSequence Scatter ScatterElements ScatterND TensorScatter TopK Unique Where""",
    "repetition and shapes as data": "ConstantOfShape Expand Range Shape Size Tile",
    "constants without an input": """
        BlackmanWindow Constant HammingWindow HannWindow MelWeightMatrix""",
    "Fourier transforms": "DFT STFT",
    "comparison, logic and bits": """
        And BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Equal Greater GreaterOrEqual
        IsInf IsNaN Less LessOrEqual Not Or Xor""",
    "changes of the data type": "Cast CastLike",
    "quantized arithmetic": """
        ConvInteger DequantizeLinear DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul
        QuantizeLinear""",
    "random numbers of the framework": "Bernoulli",
    "control flow, sequences and optional values": """
        If Loop OptionalGetElement OptionalHasElement Scan SequenceInsert SequenceMap
        SplitToSequence""",
    "text, images and labels": """
        ImageDecoder LabelEncoder RegexFullMatch StringConcat StringNormalizer StringSplit
        TfIdfVectorizer""",
    "trees and thresholds": "Binarizer TreeEnsemble",
    "an optimizer's update from a given state, where forward passes are judged": """
        Adagrad Adam Momentum""",
}

ABSENT = {op: kind for kind, ops in KINDS.items() for op in ops.split()}
"""Kind by type of op."""
