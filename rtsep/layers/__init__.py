"""What networks are made of, each part a `StreamingLayer`."""

from rtsep.layers.batchnorm import BatchNorm
from rtsep.layers.consistency import MixtureConsistency
from rtsep.layers.convolution import Conv, ConvTranspose, DepthwiseConv
from rtsep.layers.convolution2d import Conv2d, ConvTranspose2d
from rtsep.layers.normalisation import CumulativeLayerNorm, FrameLayerNorm, MovingMeanNorm
from rtsep.layers.parallel import ParallelLinear, ParallelLSTM
from rtsep.layers.recurrence import LSTM
from rtsep.layers.spectrogram import InverseSpectrogram, Spectrogram

__all__ = [
    "LSTM",
    "BatchNorm",
    "Conv",
    "Conv2d",
    "ConvTranspose",
    "ConvTranspose2d",
    "CumulativeLayerNorm",
    "DepthwiseConv",
    "FrameLayerNorm",
    "InverseSpectrogram",
    "MixtureConsistency",
    "MovingMeanNorm",
    "ParallelLSTM",
    "ParallelLinear",
    "Spectrogram",
]
