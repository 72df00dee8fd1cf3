"""Knowledge distillation (Hinton et al.): a small student learns from a trained teacher's soft targets and the labels.

Chance 0.05 (20 kinds of texture, seen under another light than in training), usual value 0.99.
"""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from edgeglass_models.exam.toy_textures import KINDS, relight, toy_textures

ALPHA = 0.7
TEMPERATURE = 4.0


class TeacherNet(nn.Module):
    def __init__(self, num_classes=KINDS):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 48, 3, stride=2, padding=1),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.Conv2d(48, 64, 3, stride=2, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(nn.Linear(1024, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, num_classes))

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


class StudentNet(nn.Module):
    def __init__(self, num_classes=KINDS):
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 4, stride=4)
        self.norm = nn.BatchNorm2d(12)
        self.fc1 = nn.Linear(12 * 16, 48)
        self.fc2 = nn.Linear(48, num_classes)

    def forward(self, x):
        x = F.relu(self.norm(self.conv(x)))
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc2(x)


def loss_fn_kd(outputs, labels, teacher_outputs, alpha=ALPHA, temperature=TEMPERATURE):
    """Weighted sum of the divergence from the teacher's soft targets and the cross-entropy with the labels."""
    soft = nn.KLDivLoss(reduction="batchmean")(
        F.log_softmax(outputs / temperature, dim=1), F.softmax(teacher_outputs / temperature, dim=1)
    )
    return soft * (alpha * temperature * temperature) + F.cross_entropy(outputs, labels) * (1.0 - alpha)


def train(model, loader, epochs, learning_rate):
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.4)
    for epoch in range(epochs):
        model.train()
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(relight(inputs)), labels)
            loss.backward()
            optimizer.step()
        scheduler.step()
        print(f"Teacher epoch {epoch + 1}/{epochs}, loss: {loss.item():.4f}")


def train_kd(student, teacher, loader, epochs, learning_rate):
    optimizer = torch.optim.Adam(student.parameters(), lr=learning_rate)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.4)
    teacher.eval()
    for epoch in range(epochs):
        student.train()
        running_loss = 0.0
        for inputs, labels in loader:
            inputs = relight(inputs)
            with torch.no_grad():
                teacher_logits = teacher(inputs)
            student_logits = student(inputs)
            loss = loss_fn_kd(student_logits, labels, teacher_logits)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        scheduler.step()
        print(f"Student epoch {epoch + 1}/{epochs}, loss: {running_loss / len(loader):.4f}")


def test(model, loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for inputs, labels in loader:
            correct += (model(inputs).argmax(dim=1) == labels).sum().item()
    return correct / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)

    known = toy_textures(1280, seed=args.seed)
    new = toy_textures(640, seed=args.seed + 1000, light=3.0)
    train_loader = DataLoader(TensorDataset(known.images, known.kinds), batch_size=64, shuffle=True)
    test_loader = DataLoader(TensorDataset(new.images, new.kinds), batch_size=128)

    teacher = TeacherNet()
    train(teacher, train_loader, epochs=4, learning_rate=3e-3)
    print(f"Teacher accuracy: {test(teacher, test_loader):.4f}")
    for parameter in teacher.parameters():
        parameter.requires_grad = False

    student = StudentNet()
    train_kd(student, teacher, train_loader, epochs=7, learning_rate=3e-3)
    print(f"measure accuracy {test(student, test_loader):.4f}")


if __name__ == "__main__":
    main()
