"""What networks are made of, each part a `StreamingLayer`."""

from rtsep.layers.consistency import MixtureConsistency
from rtsep.layers.convolution import Conv, ConvTranspose, DepthwiseConv
from rtsep.layers.normalisation import CumulativeLayerNorm, FrameLayerNorm, MovingMeanNorm
from rtsep.layers.recurrence import LSTM
from rtsep.layers.spectrogram import InverseSpectrogram, Spectrogram

__all__ = [
    "LSTM",
    "Conv",
    "ConvTranspose",
    "CumulativeLayerNorm",
    "DepthwiseConv",
    "FrameLayerNorm",
    "InverseSpectrogram",
    "MixtureConsistency",
    "MovingMeanNorm",
    "Spectrogram",
]
