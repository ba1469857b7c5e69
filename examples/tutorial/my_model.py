from torch import nn


def make_generator():
    return nn.Sequential(
        nn.ConvTranspose2d(16, 12, 4),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(12, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(6, 3, 4, stride=2, padding=1),
        nn.Tanh(),
    )
