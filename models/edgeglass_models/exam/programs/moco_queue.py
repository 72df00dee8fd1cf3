"""MoCo: a momentum encoder fills a queue of negatives, the query encoder is trained by InfoNCE against it.

Chance 0.05 (20 kinds of texture, seen under another light than in training), untrained about 0.23, usual value 0.99.
"""

import argparse
import copy
import math

import torch
from torch import nn
from torch.nn.functional import normalize
from torch.utils.data import DataLoader, TensorDataset

from edgeglass_models.exam.toy_textures import relight, toy_textures


class Encoder(nn.Module):
    def __init__(self, dim=64):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 4, stride=2, padding=1), nn.GroupNorm(4, 32), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(32, 64, 4, stride=2, padding=1), nn.GroupNorm(4, 64), nn.ReLU())
        self.fc = nn.Sequential(nn.Linear(64 * 16, 128), nn.ReLU(), nn.Linear(128, dim))

    def forward(self, x):
        return self.fc(self.body(self.stem(x)).flatten(1))


class MoCo(nn.Module):
    """Query encoder, key encoder (its moving average) and the queue of keys."""

    def __init__(self, dim=64, queue=256, momentum=0.99, temperature=0.15):
        super().__init__()
        self.momentum, self.temperature = momentum, temperature
        self.encoder_q = Encoder(dim)
        self.encoder_k = copy.deepcopy(self.encoder_q)
        for param_k in self.encoder_k.parameters():
            param_k.requires_grad = False
        self.register_buffer("queue", normalize(torch.randn(dim, queue), dim=0))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))

    @torch.no_grad()
    def _momentum_update_key_encoder(self):
        for param_q, param_k in zip(self.encoder_q.parameters(), self.encoder_k.parameters(), strict=True):
            param_k.data = param_k.data * self.momentum + param_q.data * (1.0 - self.momentum)

    @torch.no_grad()
    def _dequeue_and_enqueue(self, keys):
        ptr = int(self.queue_ptr)
        self.queue[:, ptr : ptr + len(keys)] = keys.T
        self.queue_ptr[0] = (ptr + len(keys)) % self.queue.shape[1]

    def forward(self, im_q, im_k):
        q = normalize(self.encoder_q(im_q), dim=1)
        with torch.no_grad():
            self._momentum_update_key_encoder()
            k = normalize(self.encoder_k(im_k), dim=1)
        l_pos = torch.einsum("nc,nc->n", q, k).unsqueeze(-1)
        l_neg = torch.einsum("nc,ck->nk", q, self.queue.clone().detach())
        logits = torch.cat([l_pos, l_neg], dim=1) / self.temperature
        labels = torch.zeros(len(logits), dtype=torch.long)
        self._dequeue_and_enqueue(k)
        return logits, labels


def adjust_learning_rate(optimizer, step, steps, base, warmup=15):
    if step < warmup:
        lr = base * (step + 1) / warmup
    else:
        lr = base * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
    for group in optimizer.param_groups:
        group["lr"] = lr


@torch.no_grad()
def knn_monitor(net, memory, test, k=10, t=0.1):
    """Weighted vote of the k nearest pictures of the memory."""
    net.eval()
    bank = normalize(net(memory.images), dim=1)
    features = normalize(net(test.images), dim=1)
    weight, index = torch.mm(features, bank.T).topk(k, dim=-1)
    one_hot = nn.functional.one_hot(memory.kinds[index], int(memory.kinds.max()) + 1)
    scores = (one_hot * (weight / t).exp().unsqueeze(-1)).sum(1)
    return (scores.argmax(1) == test.kinds).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)

    train = toy_textures(1280, seed=args.seed)
    test = toy_textures(640, seed=args.seed + 1000, light=3.0)
    loader = DataLoader(TensorDataset(train.images), batch_size=64, shuffle=True, drop_last=True)
    model = MoCo()
    optimizer = torch.optim.AdamW(model.encoder_q.parameters(), lr=2e-3, weight_decay=1e-4)
    criterion = nn.CrossEntropyLoss()
    step = 0
    for epoch in range(args.epochs):
        model.train()
        for (images,) in loader:
            adjust_learning_rate(optimizer, step, args.epochs * len(loader), base=2e-3)
            output, target = model(im_q=relight(images), im_k=relight(images))
            loss = criterion(output, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        accuracy = (output.argmax(1) == target).float().mean()
        print(f"Epoch [{epoch}] Loss {loss.item():.4f} Acc@1 {100 * accuracy:.1f}")

    torch.save({"state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}, "checkpoint.pth.tar")
    encoder = Encoder()
    state = torch.load("checkpoint.pth.tar")["state_dict"]
    prefix = "encoder_q."
    encoder.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    print(f"measure knn_accuracy {knn_monitor(encoder, train, test):.4f}")


if __name__ == "__main__":
    main()
