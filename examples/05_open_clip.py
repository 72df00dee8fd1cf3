# %% [markdown]
# # open_clip: pictures that nobody normalised
#
# A tiny open_clip model, its own loss, its own tokenizer, pictures with captions that this page draws. The pictures
# come as bytes, 0 to 255, and go into the model as they are: the `Normalize` of the preprocessing was lost when
# somebody wrote a faster loader.

# %%
import math
import tempfile
import warnings
from pathlib import Path

import torch

from edgeglass_models.torchvision_operators import define_missing_operators

define_missing_operators()  # for a torchvision that was built for another torch; else it does nothing
warnings.filterwarnings("ignore")

import open_clip

import edgeglass_diag as eg
from edgeglass_models.data.scenes import ScenePairs

torch.set_num_threads(1)  # the models are tiny: a second thread would only wait
RUNS = Path(tempfile.mkdtemp(prefix="edgeglass-"))
BATCH, STEPS = 32, 60

# %% [markdown]
# The data: scenes of coloured shapes with a caption that tells each from the others. They are drawn here.

# %%
scenes = ScenePairs("train", 512, size=32)
tokenize = open_clip.SimpleTokenizer(context_length=24)
pictures = torch.stack([
    torch.frombuffer(bytearray(picture.convert("RGB").tobytes()), dtype=torch.uint8).reshape(32, 32, 3).permute(2, 0, 1)
    for picture in scenes.pictures(range(len(scenes)))
])  # fmt: skip
words = tokenize([scenes[number][1] for number in range(len(scenes))])
print(scenes[0][1], tuple(pictures.shape), tuple(words.shape))


# %%
def tiny_clip():
    torch.manual_seed(0)
    return open_clip.CLIP(
        embed_dim=32,
        vision_cfg={"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 32},
        text_cfg={"context_length": 24, "vocab_size": tokenize.vocab_size, "width": 64, "heads": 2, "layers": 2},
    )


MEAN, STD = (
    torch.tensor(values)[:, None, None] for values in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
)


def train(name, prepare):
    model = tiny_clip()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    criterion = open_clip.ClipLoss()
    draw = torch.Generator().manual_seed(0)
    with eg.watch(model, optimizer, out=RUNS / name):
        for _ in range(STEPS):
            chosen = torch.randperm(len(pictures), generator=draw)[:BATCH]
            image, text, scale = model(prepare(pictures[chosen]), words[chosen])
            loss = criterion(image, text, scale)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, math.log(100))
    return eg.load(RUNS / name)


raw = train("raw", lambda picture: picture.float())
raw

# %% [markdown]
# The finding names the range that arrives at the image tower. With the normalisation that open_clip's own transforms
# make, it is gone.

# %%
normalised = train("normalised", lambda picture: (picture / 255 - MEAN) / STD)
normalised

# %%
assert "EG504" in {finding.code for finding in raw.findings}
assert "EG504" not in {finding.code for finding in normalised.findings}
for finding in raw.findings:
    print(finding.code, finding.message)
