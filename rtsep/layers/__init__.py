"""What networks are made of, each part a `StreamingLayer`."""

from rtsep.layers.attention import LocalAttention
from rtsep.layers.batchnorm import BatchNorm
from rtsep.layers.bidirectional import BidirectionalLSTM
from rtsep.layers.clustering import OnlineClustering
from rtsep.layers.consistency import MixtureConsistency
from rtsep.layers.convolution import Conv, ConvTranspose, DepthwiseConv
from rtsep.layers.convolution2d import Conv2d, ConvTranspose2d
from rtsep.layers.decimation import Decimate, Interpolate, Lowpass, ZeroStuff
from rtsep.layers.groupnorm import GroupNorm
from rtsep.layers.level import Levelled
from rtsep.layers.normalisation import (
    Affine,
    CumulativeLayerNorm,
    FrameLayerNorm,
    MovingMean,
    MovingMeanNorm,
)
from rtsep.layers.parallel import ParallelLinear, ParallelLSTM
from rtsep.layers.recurrence import LSTM
from rtsep.layers.resampling import Resample, doubled, halved, resampled
from rtsep.layers.spectrogram import InverseSpectrogram, Spectrogram

__all__ = [
    "LSTM",
    "Affine",
    "BatchNorm",
    "BidirectionalLSTM",
    "Conv",
    "Conv2d",
    "ConvTranspose",
    "ConvTranspose2d",
    "CumulativeLayerNorm",
    "Decimate",
    "DepthwiseConv",
    "FrameLayerNorm",
    "GroupNorm",
    "Interpolate",
    "InverseSpectrogram",
    "Levelled",
    "LocalAttention",
    "Lowpass",
    "MixtureConsistency",
    "MovingMean",
    "MovingMeanNorm",
    "OnlineClustering",
    "ParallelLSTM",
    "ParallelLinear",
    "Resample",
    "Spectrogram",
    "ZeroStuff",
    "doubled",
    "halved",
    "resampled",
]
