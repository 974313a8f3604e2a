"""The nets: normalised pixels float32[N, H, W, 3] -> logits float32[N, H, W, C].

H and W must be multiples of 16. `build_model` picks by name; all are plain functional Keras models whose last layer
computes in float32 under any policy.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from trainer.features import FeatureSpec
from trainer.pretrained import BACKBONES
from trainer.settings import IMAGENET, ModelSettings

_DEFAULT = FeatureSpec()


@keras.saving.register_keras_serializable("segpipe")
class SpaceToDepth(layers.Layer):
    """[N, H, W, C] -> [N, H/2, W/2, 4C]: halves the size without losing a pixel."""

    def call(self, inputs):
        return tf.nn.space_to_depth(inputs, 2)


@keras.saving.register_keras_serializable("segpipe")
class DepthToSpace(layers.Layer):
    """[N, H, W, 4C] -> [N, 2H, 2W, C]."""

    def call(self, inputs):
        return tf.nn.depth_to_space(inputs, 2)


@keras.saving.register_keras_serializable("segpipe")
class FusedBatchNormalization(layers.BatchNormalization):
    """Keras's own, by TensorFlow's fused operation, which takes half of the time."""

    def call(self, inputs, training=None, mask=None):
        trains = bool(training and self.trainable)
        # Whatever the layer computes in, the operation takes its weights as float32.
        gamma, beta, *moving = (
            tf.cast(weight, tf.float32) for weight in (self.gamma, self.beta, self.moving_mean, self.moving_variance)
        )
        mean, variance = ([], []) if trains else moving
        outputs, *batch = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=self.epsilon, is_training=trains
        )[:3]
        if trains:
            for kept, before, new in zip((self.moving_mean, self.moving_variance), moving, batch, strict=True):
                kept.assign(before * self.momentum + new * (1.0 - self.momentum))
        return outputs


def build_model(
    settings: ModelSettings,
    height: int,
    width: int,
    num_classes: int,
    pixel_mean: Sequence[float] = _DEFAULT.pixel_mean,
    pixel_std: Sequence[float] = _DEFAULT.pixel_std,
) -> keras.Model:
    """Builds the net that the settings name.

    Args:
      settings: name, filters, dropout; backbone, weights and freeze.
      height, width: input size in pixels, multiples of 16.
      num_classes: channels of the logits.
      pixel_mean, pixel_std: the constants that pixels were normalised with; a backbone was trained on others.

    Returns:
      An uncompiled Keras 3 model, float32[N, height, width, 3] -> float32[N, height, width, num_classes].

    Raises:
      ValueError: if the backbone's weights do not load.
    """
    options = settings.model_dump(include={"filters", "dropout"}, exclude_none=True)
    if settings.name == "encoder":
        return encoder_net(settings, height, width, num_classes, pixel_mean, pixel_std, **options)
    build = {"residual": residual_net, "unet": unet}[settings.name]
    return build(height, width, num_classes, **options)


def _conv_norm(x, filters: int, kernel: int = 3, strides: int = 1, relu: bool = True):
    x = layers.Conv2D(filters, kernel, strides, "same", use_bias=False, kernel_initializer="he_normal")(x)
    x = FusedBatchNormalization(momentum=0.95)(x)
    return layers.ReLU()(x) if relu else x


def _residual_block(x, filters: int, strides: int):
    shortcut = x if strides == 1 and x.shape[-1] == filters else _conv_norm(x, filters, strides, strides, relu=False)
    y = _conv_norm(x, filters, strides=strides)
    y = _conv_norm(y, filters, relu=False)
    return layers.ReLU()(layers.Add()([shortcut, y]))


def _channel_gate(x):
    """Scales each channel by what the whole photo shows (squeeze-and-excitation: Hu et al. 2018)."""
    channels = x.shape[-1]
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(channels // 4, 1, activation="relu")(pooled)
    gate = layers.Conv2D(channels, 1, activation="sigmoid")(gate)
    return layers.Multiply()([x, gate])


def residual_net(height: int, width: int, num_classes: int, filters: int = 16, dropout: float = 0.1) -> keras.Model:
    """A small encoder-decoder of residual blocks at 1/2, 1/4, 1/8 and 1/16 of the size."""
    inputs = keras.Input([height, width, 3], name="pixels")
    x = _conv_norm(SpaceToDepth()(inputs), filters)
    skips = []
    for level in range(4):
        x = _residual_block(x, filters * 2**level, strides=1 if level == 0 else 2)
        skips.append(x)
    x = layers.SpatialDropout2D(dropout)(_channel_gate(skips.pop()))
    return keras.Model(inputs, _decode(x, skips, filters, num_classes), name="residual")


def _decode(x, skips: list, filters: int, num_classes: int, crop: bool = False):
    """Doubles the deepest features once a skip, adding it, and gives logits at twice the size of the first skip.

    Half of an odd size may be rounded up, and twice the half is a pixel more: `crop` cuts that off.
    """
    for level in reversed(range(len(skips))):
        width_here, skip = filters * 2**level, skips[level]
        x = layers.UpSampling2D(2, interpolation="bilinear")(layers.Conv2D(width_here, 1)(x))
        if crop:
            x = layers.Cropping2D([(0, x.shape[axis] - skip.shape[axis]) for axis in (1, 2)])(x)
        x = layers.Add()([x, layers.Conv2D(width_here, 1)(skip)])
        x = _conv_norm(x, width_here)
    return DepthToSpace(dtype="float32")(layers.Conv2D(4 * num_classes, 1, name="head", dtype="float32")(x))


def _double_conv(x, filters: int):
    for _ in range(2):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", kernel_initializer="he_normal")(x)
    return x


def unet(height: int, width: int, num_classes: int, filters: int = 32, dropout: float = 0.3) -> keras.Model:
    """The classic U-Net (Ronneberger et al. 2015) with five levels, transposed convolutions and no batch norm.

    8,639,844 parameters with 32 filters and 4 classes.
    """
    inputs = keras.Input([height, width, 3], name="pixels")
    x, skips = inputs, []
    for level in range(5):
        x = _double_conv(x, filters * 2**level)
        if level >= 3:
            x = layers.Dropout(dropout)(x)
        if level < 4:
            skips.append(x)
            x = layers.MaxPooling2D(2)(x)
    for level in (3, 2, 1, 0):
        x = layers.Conv2DTranspose(filters * 2**level, 3, strides=2, padding="same")(x)
        x = _double_conv(layers.Concatenate()([x, skips.pop()]), filters * 2**level)
    x = layers.Conv2D(filters, 3, padding="same", activation="relu", kernel_initializer="he_normal")(x)
    return keras.Model(inputs, layers.Conv2D(num_classes, 1, name="head", dtype="float32")(x), name="unet")


def encoder_net(
    settings: ModelSettings,
    height: int,
    width: int,
    num_classes: int,
    pixel_mean: Sequence[float],
    pixel_std: Sequence[float],
    filters: int = 16,
    dropout: float = 0.1,
) -> keras.Model:
    """A U-shaped decoder over a pretrained backbone's features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size."""
    backbone = BACKBONES[settings.backbone]
    mean, std = np.array(pixel_mean), np.array(pixel_std)
    inputs = keras.Input([height, width, 3], name="pixels")
    x = layers.Rescaling((std * backbone.scale).tolist(), (mean * backbone.scale + backbone.offset).tolist())(inputs)
    pretrained = _backbone(settings, x)
    *skips, x = [pretrained.get_layer(name).output for name in backbone.skips]
    x = layers.SpatialDropout2D(dropout)(x)
    return keras.Model(inputs, _decode(x, skips, filters, num_classes, crop=True), name="encoder")


def _backbone(settings: ModelSettings, pixels) -> keras.Model:
    """The backbone without its top, with its weights."""
    weights = settings.weights_file or (IMAGENET if settings.weights == IMAGENET else None)
    build = getattr(keras.applications, settings.backbone)
    try:
        pretrained = build(include_top=False, weights=weights, input_tensor=pixels)
    # Keras tells a failed download by a bare Exception, and a file that does not fit by several kinds.
    except Exception as error:
        raise ValueError(
            f"model.weights: {settings.weights} does not load into {settings.backbone} without its top "
            f"({str(error).splitlines()[0].rstrip(':')}); name a file of that backbone's weights"
        ) from error
    pretrained.trainable = not settings.freeze
    return pretrained
