"""A convolutional masked autoencoder: three fifths of a picture's patches are hidden, and it paints them.

A constant gives 0.0 of the variance of hidden patches of new pictures, usual value 0.47.
"""

import argparse
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from edgeglass_models.exam.toy_textures import SIDE, relight, toy_textures

PATCH = 4
MASK_RATIO = 0.6


class MaskGenerator:
    """Draws which patches of each picture are hidden, (n, L) of zeros and ones."""

    def __init__(self, num_patches, mask_ratio):
        self.token_count = num_patches
        self.mask_count = math.ceil(num_patches * mask_ratio)

    def __call__(self, n):
        order = torch.rand(n, self.token_count).argsort(dim=1)
        mask = torch.zeros(n, self.token_count)
        return mask.scatter_(1, order[:, : self.mask_count], 1.0)


class MaskedAutoencoder(nn.Module):
    """Hidden patches are filled with a learned colour; encoder, bottleneck and decoder see the whole grid."""

    def __init__(self, width=24, latent_dim=96):
        super().__init__()
        self.mask_token = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1),
            nn.GroupNorm(4, width),
            nn.GELU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.GroupNorm(4, 2 * width),
            nn.GELU(),
            nn.Flatten(),
        )
        self.to_latent = nn.Linear(2 * width * 16, latent_dim)
        self.from_latent = nn.Linear(latent_dim, 2 * width * 16)
        self.decoder = nn.Sequential(
            nn.GELU(),
            nn.Unflatten(1, (2 * width, 4, 4)),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            nn.GELU(),
            nn.ConvTranspose2d(width, 3, 4, stride=2, padding=1),
        )

    def patchify(self, imgs):
        """Images (n, 3, H, W) to patches (n, L, patch**2 * 3)."""
        h = w = SIDE // PATCH
        x = imgs.reshape(imgs.shape[0], 3, h, PATCH, w, PATCH)
        return torch.einsum("nchpwq->nhwpqc", x).reshape(imgs.shape[0], h * w, PATCH**2 * 3)

    def forward_encoder(self, imgs, mask):
        side = SIDE // PATCH
        hidden = mask.view(-1, 1, side, side).repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
        return self.to_latent(self.encoder(imgs * (1 - hidden) + self.mask_token * hidden))

    def forward_loss(self, imgs, pred, mask):
        loss = (pred - self.patchify(imgs)) ** 2
        loss = loss.mean(dim=-1)
        return (loss * mask).sum() / mask.sum()

    def forward(self, imgs, mask):
        latent = self.forward_encoder(imgs, mask)
        pred = self.patchify(self.decoder(self.from_latent(latent)))
        return self.forward_loss(imgs, pred, mask), pred


def adjust_learning_rate(optimizer, epoch, args):
    """Half-cycle cosine after warm-up."""
    if epoch < args.warmup_epochs:
        lr = args.lr * epoch / args.warmup_epochs
    else:
        progress = (epoch - args.warmup_epochs) / (args.epochs - args.warmup_epochs)
        lr = args.min_lr + (args.lr - args.min_lr) * 0.5 * (1.0 + math.cos(math.pi * progress))
    for param_group in optimizer.param_groups:
        param_group["lr"] = lr
    return lr


def train_one_epoch(model, data_loader, mask_generator, optimizer, epoch, args):
    model.train()
    for data_iter_step, (samples,) in enumerate(data_loader):
        adjust_learning_rate(optimizer, data_iter_step / len(data_loader) + epoch, args)
        samples = relight(samples, light=0.1)
        loss, _ = model(samples, mask_generator(len(samples)))
        loss_value = loss.item()
        if not math.isfinite(loss_value):
            raise SystemExit(f"Loss is {loss_value}, stopping training")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"Epoch: [{epoch}] lr: {optimizer.param_groups[0]['lr']:.6f} loss: {loss_value:.4f}")


@torch.no_grad()
def explained_variance(model, images, mask):
    """Share of the variance of the hidden patches that the painted ones explain."""
    model.eval()
    _, pred = model(images, mask)
    target = model.patchify(images)
    hidden = mask.bool()
    residual = (pred - target)[hidden].square().mean()
    return (1 - residual / target[hidden].var()).item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--warmup_epochs", type=int, default=1)
    parser.add_argument("--mask_ratio", type=float, default=MASK_RATIO)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--min_lr", type=float, default=0.0)
    parser.add_argument("--weight_decay", type=float, default=0.05)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)

    dataset = TensorDataset(toy_textures(1280, seed=args.seed, light=0.3).images)
    data_loader = DataLoader(dataset, batch_size=64, shuffle=True, drop_last=True)
    mask_generator = MaskGenerator((SIDE // PATCH) ** 2, args.mask_ratio)
    model = MaskedAutoencoder()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.9, 0.95), weight_decay=args.weight_decay)
    for epoch in range(args.epochs):
        train_one_epoch(model, data_loader, mask_generator, optimizer, epoch, args)

    test = toy_textures(640, seed=args.seed + 1000, light=0.3)
    score = explained_variance(model, test.images, mask_generator(len(test)))
    print(f"measure explained_variance {score:.4f}")


if __name__ == "__main__":
    main()
