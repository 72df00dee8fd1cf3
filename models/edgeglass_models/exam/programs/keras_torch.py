"""A picture classifier in Keras 3 with torch as its backend: compile, fit with callbacks, evaluate.

Measure: accuracy on 288 held-out pictures of 72 classes (colour and place); chance 0.014, usual value 1.0.
"""

import argparse
import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import torch
from keras import layers

from edgeglass_models.exam.toy_data import COLOURS, PLACES, toy_pairs

CLASSES = len(COLOURS) * len(PLACES)
EPOCHS = 10
BATCH = 64


def arrays(n, seed):
    pairs = toy_pairs(n, seed, image_size=24)
    pixels = (pairs.images.permute(0, 2, 3, 1) - 0.5) / 0.25
    labels = pairs.colour * len(PLACES) + pairs.place
    return pixels.numpy().astype("float32"), labels.numpy()


def build(steps):
    model = keras.Sequential(
        [
            layers.Input((24, 24, 3)),
            layers.Conv2D(32, 4, strides=4, activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(64, 3, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.1),
            layers.Dense(CLASSES),
        ]
    )
    rate = keras.optimizers.schedules.CosineDecay(0.0, decay_steps=steps, warmup_target=3e-3, warmup_steps=steps // 10)
    model.compile(
        optimizer=keras.optimizers.AdamW(rate, weight_decay=1e-2, clipnorm=1.0),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    keras.utils.set_random_seed(seed)
    torch.set_num_threads(1)

    pixels, labels = arrays(1152, seed)
    test = arrays(288, seed + 1000)
    model = build(EPOCHS * len(pixels) // BATCH)
    best = keras.callbacks.ModelCheckpoint("best.weights.h5", "val_loss", save_best_only=True, save_weights_only=True)
    model.fit(
        pixels, labels, batch_size=BATCH, epochs=EPOCHS, validation_split=0.1, shuffle=True, callbacks=[best], verbose=2
    )
    model.load_weights("best.weights.h5")
    _, accuracy = model.evaluate(*test, batch_size=BATCH, verbose=0)
    print(f"measure accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
