"""Metric learning with pytorch-metric-learning: balanced batches, mined triplets, precision at 1.

Chance 0.05 (20 kinds of texture, seen under another light than in training), usual value 0.99.
"""

import argparse

import torch
from pytorch_metric_learning import distances, losses, miners, reducers, samplers
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from edgeglass_models.exam.toy_textures import relight, toy_textures


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, 1, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1, padding=1)
        self.dropout = nn.Dropout(0.1)
        self.fc1 = nn.Linear(1024, 64)

    def forward(self, x):
        x = torch.relu(nn.functional.avg_pool2d(self.conv1(x), 2))
        x = torch.relu(nn.functional.max_pool2d(self.conv2(x), 2))
        return self.fc1(self.dropout(torch.flatten(x, 1)))


def train(model, loss_func, mining_func, train_loader, optimizer, scheduler, epoch):
    model.train()
    for batch_idx, (data, labels) in enumerate(train_loader):
        data = relight(data)
        optimizer.zero_grad()
        embeddings = model(data)
        indices_tuple = mining_func(embeddings, labels)
        loss = loss_func(embeddings, labels, indices_tuple)
        loss.backward()
        optimizer.step()
        scheduler.step()
        if batch_idx % 20 == 0:
            print(f"Epoch {epoch} Iteration {batch_idx}: Loss = {loss:.4f}, mined = {mining_func.num_triplets}")


def get_all_embeddings(dataset, model):
    model.eval()
    with torch.no_grad():
        batches = [(model(data), labels) for data, labels in DataLoader(dataset, batch_size=128)]
    embeddings, labels = zip(*batches, strict=True)
    return torch.cat(embeddings), torch.cat(labels)


def precision_at_1(train_set, test_set, model):
    train_embeddings, train_labels = get_all_embeddings(train_set, model)
    test_embeddings, test_labels = get_all_embeddings(test_set, model)
    similarity = distances.CosineSimilarity()(test_embeddings, train_embeddings)
    return (train_labels[similarity.argmax(1)] == test_labels).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)

    known = toy_textures(1280, seed=args.seed)
    new = toy_textures(640, seed=args.seed + 1000, light=3.0)
    train_set = TensorDataset(known.images, known.kinds)
    test_set = TensorDataset(new.images, new.kinds)
    sampler = samplers.MPerClassSampler(known.kinds, m=4, batch_size=64, length_before_new_iter=len(known))
    train_loader = DataLoader(train_set, batch_size=64, sampler=sampler, drop_last=True)

    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    num_epochs = 6
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=3e-3, epochs=num_epochs, steps_per_epoch=len(train_loader)
    )
    distance = distances.CosineSimilarity()
    reducer = reducers.ThresholdReducer(low=0)
    loss_func = losses.TripletMarginLoss(margin=0.2, distance=distance, reducer=reducer)
    mining_func = miners.TripletMarginMiner(margin=0.2, distance=distance, type_of_triplets="semihard")
    for epoch in range(1, num_epochs + 1):
        train(model, loss_func, mining_func, train_loader, optimizer, scheduler, epoch)
    print(f"measure precision@1 {precision_at_1(train_set, test_set, model):.4f}")


if __name__ == "__main__":
    main()
